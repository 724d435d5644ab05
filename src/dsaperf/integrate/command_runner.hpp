#pragma once

#include "dsaperf/core/error.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace dsaperf::integrate {

// How a command ended.
struct Ended {
  int exit_code = 0;  // 128 + signal where it was killed
  double seconds = 0;
  std::string output = {};  // what it printed on its standard output
  std::string errors = {};  // and on its standard error, the end of it where it was long
};

// Runs commands: the seam at which tests put their own.
class CommandRunner {
 public:
  CommandRunner() = default;
  CommandRunner(const CommandRunner&) = delete;
  CommandRunner& operator=(const CommandRunner&) = delete;
  virtual ~CommandRunner() = default;

  // `words`: arguments of the program, without its own name. Fails where it can't be started.
  virtual Result<Ended> run(const std::vector<std::string>& words) = 0;
};

// Runs `program` in a process of its own, so that a phase that runs out of memory or meets a broken
// driver costs its own answers and no others'. What it prints goes to files without a name, of
// which nothing is left whenever this process ends.
class ProcessRunner : public CommandRunner {
 public:
  explicit ProcessRunner(std::filesystem::path program) : program_(std::move(program)) {}

  Result<Ended> run(const std::vector<std::string>& words) override;

 private:
  std::filesystem::path program_;
};

// The words as a shell takes them.
std::string shell_line(const std::vector<std::string>& words);

}  // namespace dsaperf::integrate
