#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/profile/recording.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace dsaperf::profile {

struct ProfiledRun {
  int exit_code = 0;  // of the command; 128 + signal where it was killed
  double wall_ns = 0;
  std::vector<ProcessRecording> processes;  // those that used CUDA, in order of their numbers
};

// Where what the command prints goes: to where ours goes, or to standard error, where ours is a
// document.
enum class CommandOutput { kPassed, kToErrors };

// Runs a command with `injection` (libdsaperf_inject.so) in it and in all its children that
// initialise CUDA, waits for it, and reads what they left in `logs`, a folder that is made. Signals
// pass through. Fails with kNotFound where the command cannot be
// started, with kInvalidArgument where the folder holds logs already.
Result<ProfiledRun> run_profiled(const std::vector<std::string>& command,
                                 const std::filesystem::path& injection,
                                 const std::filesystem::path& logs,
                                 CommandOutput output = CommandOutput::kPassed);

// The injection library: $DSAPERF_INJECT, else beside the program, in ../lib or ../lib/dsaperf of
// it (an installation), or where the build of the program put it.
Result<std::filesystem::path> injection_library();
// The same for a program at this path, and a DSAPERF_INJECT of `named` (empty: not set).
Result<std::filesystem::path> injection_library(const std::filesystem::path& program,
                                                const std::filesystem::path& named);

}  // namespace dsaperf::profile
