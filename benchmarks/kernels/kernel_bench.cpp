// The command `bench` of dsaperf as a program: kernel_bench bench --tune ...; kernel_bench card
// prints the name of the card, as in data/systems.
#include "bench.hpp"
#include "dsaperf/bench/measure.hpp"

#include <cstdio>

int main(int argc, char** argv) {
  CLI::App app("The GPU kernels against their bounds", "kernel_bench");
  app.require_subcommand(1);
  dsaperf::tool::Run run;
  dsaperf::tool::add_bench(app, run);
  app.add_subcommand("card", "Name of the card")->callback([&run] {
    run = []() -> dsaperf::Result<dsaperf::tool::ExitCode> {
      return dsaperf::bench::card().map([](const dsaperf::bench::Card& card) {
        const auto name = dsaperf::kernels::card_of_device(card.device);
        std::puts(name ? name->c_str() : "unknown");
        return dsaperf::tool::ExitCode::kDone;
      });
    };
  });
  CLI11_PARSE(app, argc, argv);
  const auto outcome = run();
  if (!outcome) {
    std::fprintf(stderr, "error: %s\n", outcome.error().message().c_str());
    return static_cast<int>(dsaperf::tool::ExitCode::kFailed);
  }
  return static_cast<int>(*outcome);
}
