#pragma once

#include "dsaperf/core/error.hpp"

#include <CLI/CLI.hpp>

#include <functional>

namespace dsaperf::tool {

// What programs rely on (README, "Exit codes").
enum class ExitCode {
  kDone = 0,
  kFailed = 1,     // one line "error: ..." on stderr
  kUsage = 2,      // wrong flags
  kVerdictNo = 3,  // done, and the answer is no
};

// The command that was chosen; main runs it and prints its error. Data goes to stdout, progress and
// warnings to stderr.
using Run = std::function<Result<ExitCode>()>;

// One function a command, each in the file of its name: declares flags and help, and sets `run`
// from its callback.
//   auto* command = app.add_subcommand("analyze", "...");
//   auto options = std::make_shared<Options>();
//   command->callback([options, &run] { run = [options] { return analyze(*options); }; });

}  // namespace dsaperf::tool
