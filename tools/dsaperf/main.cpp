#include "align.hpp"
#include "analyze.hpp"
#include "bench.hpp"
#include "collect.hpp"
#include "collect_source.hpp"
#include "command.hpp"
#include "completion.hpp"
#include "db.hpp"
#include "estimate.hpp"
#include "help_format.hpp"
#include "integrate.hpp"
#include "man.hpp"
#include "profile.hpp"
#include "query.hpp"
#include "run.hpp"
#include "sweep.hpp"
#include "trace.hpp"
#include "usage.hpp"

#include <malloc.h>

#include <cstdio>
#include <exception>
#include <span>

namespace {

using dsaperf::tool::ExitCode;

ExitCode execute(int argc, char** argv) {
  CLI::App app("Analyse, run, profile, predict and measure DeepSeek Sparse Attention", "dsaperf");
  app.formatter(dsaperf::tool::help_format());  // commands take it over as they are added
  app.require_subcommand(1);
  app.footer(
      "Examples:\n  dsaperf analyze deepseek-ai/DeepSeek-V3.2\n"
      "  dsaperf integrate deepseek-ai/DeepSeek-V3.2 -o report");
  app.set_version_flag("--version", "dsaperf " DSAPERF_VERSION);
  dsaperf::tool::Run run;
  dsaperf::tool::add_align(app, run);
  dsaperf::tool::add_analyze(app, run);
  dsaperf::tool::add_bench(app, run);
  dsaperf::tool::add_collect(app, run);
  dsaperf::tool::add_collect_worker(app, run);
  dsaperf::tool::add_completion(app, run);
  dsaperf::tool::add_db(app, run);
  dsaperf::tool::add_estimate(app, run);
  dsaperf::tool::add_integrate(app, run);
  dsaperf::tool::add_man(app, run);
  dsaperf::tool::add_profile(app, run);
  dsaperf::tool::add_query(app, run);
  dsaperf::tool::add_run(app, run);
  dsaperf::tool::add_sweep(app, run);
  dsaperf::tool::add_trace(app, run);

  const std::span<char* const> words(argv + 1, argv + argc);
  if (const auto wrong = dsaperf::tool::unknown_command(app, words)) {
    std::fprintf(stderr, "error: %s\n", wrong->c_str());
    return ExitCode::kUsage;
  }
  if (words.empty()) {
    std::fputs("error: which command? dsaperf --help lists them\n", stderr);
    return ExitCode::kUsage;
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help, --version
      app.exit(error);
      return ExitCode::kDone;
    }
    std::fprintf(stderr, "error: %s (see %s --help)\n", error.what(),
                 dsaperf::tool::command_path(app).c_str());
    return ExitCode::kUsage;
  }

  const auto outcome = run();
  if (!outcome) {
    std::fprintf(stderr, "error: %s\n", outcome.error().message().c_str());
    return ExitCode::kFailed;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "error: standard output: could not be written\n");
    return ExitCode::kFailed;
  }
  return *outcome;
}

}  // namespace

int main(int argc, char** argv) {
  // A process of a tenth of a second that reads tables: memory that is given back to the system is
  // asked for, and cleared, again (a third of the page faults of `estimate`).
  constexpr int kMuch = 1 << 30;
  mallopt(M_MMAP_THRESHOLD, kMuch);
  mallopt(M_TRIM_THRESHOLD, kMuch);
  mallopt(M_TOP_PAD, 32 << 20);
  try {
    return static_cast<int>(execute(argc, argv));
  } catch (const std::exception& error) {
    // The library does not throw; what comes here is the standard library out of memory.
    std::fprintf(stderr, "error: %s\n", error.what());
    return static_cast<int>(ExitCode::kFailed);
  }
}
