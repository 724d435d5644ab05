#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/integrate/command_runner.hpp"
#include "dsaperf/integrate/integration.hpp"
#include "dsaperf/integrate/state.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::integrate {

using Json = nlohmann::ordered_json;

// The folder of an integration while its phases run: runs their commands or takes what is there,
// and keeps the documents and the record of what was done, as report/integration.hpp wants them.
class Workspace {
 public:
  Workspace(const Options& options, CommandRunner& runner, const Watcher& watcher);

  void begin_phase(std::string_view name);
  void end_phase();

  // Runs the step or reuses it. False where it failed or its phase is skipped: the document is then
  // missing. Fails where nothing can be written.
  Result<bool> step(const Step& step);

  // The document of a step; null where there is none. Stays where it is while others come.
  const Json& document(std::string_view name) const;
  void add_document(const std::string& name, Json document);
  // A CSV that a step left, as {"rows": [...]}, under a name of its own.
  void add_rows(const std::string& name, const std::filesystem::path& csv);

  std::filesystem::path path(std::string_view name) const { return options_.directory / name; }
  const Options& options() const { return options_; }
  void set_model(const std::string& name) { evidence_["model"] = name; }
  // All of it, once the phases are over.
  Json evidence() const;
  Outcome& outcome() { return outcome_; }

 private:
  bool is_skipped() const;
  Result<bool> take(const Step& step, std::string_view state, double seconds,
                    const std::string& error);

  const Options& options_;
  CommandRunner& runner_;
  const Watcher& watcher_;
  State state_;
  Json evidence_;  // without documents
  std::map<std::string, Json, std::less<>> documents_;
  Outcome outcome_;
};

}  // namespace dsaperf::integrate
