// The command `bench` of dsaperf as a program: kernel_bench bench --tune ...; kernel_bench card
// prints the name of the card, as in data/systems.
#include "bench.hpp"
#include "command.hpp"
#include "dsaperf/bench/measure.hpp"

#include <cstdio>

namespace {

using dsaperf::tool::Command;
using dsaperf::tool::ExitCode;

dsaperf::Result<ExitCode> print_card() {
  return dsaperf::bench::card().map([](const dsaperf::bench::Card& card) {
    const auto name = dsaperf::kernels::card_of_device(card.device);
    std::puts(name ? name->c_str() : "unknown");
    return ExitCode::kDone;
  });
}

}  // namespace

int main(int argc, char** argv) {
  Command app("kernel_bench", "The GPU kernels against their bounds", DSAPERF_VERSION);
  app.require_command();
  dsaperf::tool::add_bench(app);
  app.add_command("card", "Name of the card", [](Command& card) { card.callback(print_card); });
  const auto command = app.parse(argc, argv);
  if (!command) {
    std::fprintf(stderr, "error: %s\n", command.error().message().c_str());
    return static_cast<int>(ExitCode::kUsage);
  }
  if (*command == nullptr) return static_cast<int>(ExitCode::kDone);
  const auto outcome = (*command)->run();
  if (!outcome) {
    std::fprintf(stderr, "error: %s\n", outcome.error().message().c_str());
    return static_cast<int>(ExitCode::kFailed);
  }
  return static_cast<int>(*outcome);
}
