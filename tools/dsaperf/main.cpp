#include "align.hpp"
#include "analyze.hpp"
#include "bench.hpp"
#include "collect.hpp"
#include "collect_source.hpp"
#include "command.hpp"
#include "completion.hpp"
#include "db.hpp"
#include "document.hpp"
#include "estimate.hpp"
#include "integrate.hpp"
#include "man.hpp"
#include "profile.hpp"
#include "query.hpp"
#include "run.hpp"
#include "sweep.hpp"
#include "trace.hpp"
#include "usage.hpp"

#include <malloc.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <exception>
#include <span>

namespace {

using dsaperf::tool::Command;
using dsaperf::tool::ExitCode;

constexpr const char* kUnwritten = "standard output: could not be written";

// What a program that asked for a document gets instead of it.
nlohmann::ordered_json document_of(const dsaperf::Error& error) {
  return {{"format", "dsaperf.error.1"},
          {"code", dsaperf::name(error.code())},
          {"message", error.message()}};
}

ExitCode execute(int argc, char** argv) {
  Command app("dsaperf", "Analyse, run, profile, predict and measure DeepSeek Sparse Attention",
              "dsaperf " DSAPERF_VERSION);
  app.require_command();
  app.footer(
      "Examples:\n  dsaperf analyze deepseek-ai/DeepSeek-V3.2\n"
      "  dsaperf integrate deepseek-ai/DeepSeek-V3.2 -o report");
  dsaperf::tool::add_align(app);
  dsaperf::tool::add_analyze(app);
  dsaperf::tool::add_bench(app);
  dsaperf::tool::add_collect(app);
  dsaperf::tool::add_collect_worker(app);
  dsaperf::tool::add_completion(app);
  dsaperf::tool::add_db(app);
  dsaperf::tool::add_estimate(app);
  dsaperf::tool::add_integrate(app);
  dsaperf::tool::add_man(app);
  dsaperf::tool::add_profile(app);
  dsaperf::tool::add_query(app);
  dsaperf::tool::add_run(app);
  dsaperf::tool::add_sweep(app);
  dsaperf::tool::add_trace(app);

  const std::span<char* const> words(argv + 1, argv + argc);
  if (const auto wrong = dsaperf::tool::unknown_command(app, words)) {
    std::fprintf(stderr, "error: %s\n", wrong->c_str());
    return ExitCode::kUsage;
  }
  const auto command = app.parse(argc, argv);
  if (!command) {
    std::fprintf(stderr, "error: %s\n", command.error().message().c_str());
    return ExitCode::kUsage;
  }
  const bool is_answered = *command == nullptr;  // --help, --version
  const auto outcome = is_answered ? ExitCode::kDone : (*command)->run();
  if (!outcome) {
    if ((*command)->gives_document() && !dsaperf::tool::is_document_begun())
      dsaperf::tool::print_document(document_of(outcome.error()));
    std::fprintf(stderr, "error: %s\n", outcome.error().message().c_str());
    return ExitCode::kFailed;
  }
  if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
    std::fprintf(stderr, "error: %s\n", kUnwritten);
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
    // The library does not throw; what comes here is the standard library out of memory, or fmt
    // that could not print.
    std::fprintf(stderr, "error: %s\n", std::ferror(stdout) != 0 ? kUnwritten : error.what());
    return static_cast<int>(ExitCode::kFailed);
  }
}
