// The command `bench` of dsaperf as a program: kernel_bench bench --tune ...
#include "bench.hpp"

#include <cstdio>

int main(int argc, char** argv) {
  CLI::App app("The GPU kernels against their bounds", "kernel_bench");
  app.require_subcommand(1);
  dsaperf::tool::Run run;
  dsaperf::tool::add_bench(app, run);
  CLI11_PARSE(app, argc, argv);
  const auto outcome = run();
  if (!outcome) {
    std::fprintf(stderr, "error: %s\n", outcome.error().message().c_str());
    return static_cast<int>(dsaperf::tool::ExitCode::kFailed);
  }
  return static_cast<int>(*outcome);
}
