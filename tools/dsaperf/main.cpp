#include "command.hpp"

#include <cstdio>

int main(int argc, char** argv) {
  using dsaperf::tool::ExitCode;
  CLI::App app("Analyse, run, profile, predict and measure DeepSeek Sparse Attention", "dsaperf");
  app.require_subcommand(1);
  dsaperf::tool::Run run;

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? static_cast<int>(ExitCode::kDone)
                                : static_cast<int>(ExitCode::kUsage);
  }
  const auto outcome = run();
  if (!outcome) {
    std::fprintf(stderr, "error: %s\n", outcome.error().message().c_str());
    return static_cast<int>(ExitCode::kFailed);
  }
  return static_cast<int>(*outcome);
}
