#pragma once

#include "dsaperf/core/error.hpp"

#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace dsaperf::integrate {

// One command of an integration: what it is called, what it runs and what its answer depends on.
struct Step {
  std::string name;                             // of its document: "run", "sweep.h200_sxm"
  std::vector<std::string> words;               // for the program
  std::vector<std::filesystem::path> inputs;    // files whose content it reads
  std::vector<std::filesystem::path> products;  // files it writes, beside what it prints
};

// What is remembered of a step that was done. A failure is remembered as well: it would fail again.
struct Done {
  std::string key;                              // of everything that the answer depends on
  std::string document;                         // digest of what it printed
  std::map<std::string, std::string> products;  // digest by path
  int exit_code = 0;
  double seconds = 0;
  std::string error;
};

// The memory of an integration, DIR/state.json (format dsaperf.integrate.state.1). A file that is
// missing, damaged or of another format is an empty memory: everything is done again.
class State {
 public:
  // `environment`: what every step depends on: the program and the tables in reach.
  State(std::filesystem::path file, std::string environment);

  // Null where the step was not done, what it depends on has changed, or a product is not as it
  // left it.
  const Done* find(const Step& step, const std::filesystem::path& document) const;
  // What find() would compare, of a step that was just done.
  Result<void> remember(const Step& step, const std::filesystem::path& document, int exit_code,
                        double seconds, std::string error);

 private:
  std::string key_of(const Step& step) const;
  Result<void> save() const;

  std::filesystem::path file_;
  std::string environment_;
  std::map<std::string, Done> done_;
};

// Size and CRC of a file's content, or "none".
std::string digest_of(const std::filesystem::path& file);

}  // namespace dsaperf::integrate
