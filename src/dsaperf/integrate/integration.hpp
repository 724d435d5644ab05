#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/integrate/command_runner.hpp"

#include <array>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::integrate {

// In order. Each is a few commands of the program, so that it can be run alone, too.
inline constexpr std::array<std::string_view, 6> kPhases = {"analyze", "run",     "align",
                                                            "predict", "collect", "export"};

struct Options {
  std::string config;                // as analyze takes it
  std::filesystem::path directory;   // of everything that is written
  std::vector<std::string> systems;  // to predict for; the first is collected and exported for
  std::string systems_root;          // AIConfigurator's systems folder; empty: found by itself
  std::string reference;             // recording of the served model
  std::string mock;      // recording of the layer alone; empty: made where there is a GPU
  bool gpu = false;      // run, profile and collect on it
  bool collect = false;  // measure the standard grid; without a GPU it is planned only
  int heads = 0;         // attention heads of one rank; 0: 16, or all where 16 do not divide
  int gpus = 8;
  double isl = 4096, osl = 1024;
  double ttft_limit_ms = 0, tpot_limit_ms = 0;  // 0: none
  std::set<std::string, std::less<>> skipped;   // phases that run nothing
  bool fresh = false;                           // forget what was done before
  std::string program;                          // name and version, for the report
  std::string environment;                      // what every answer depends on besides its inputs
};

struct Outcome {
  std::filesystem::path page;         // DIR/report.html
  std::string text;                   // the answers, for a terminal
  std::vector<std::string> failures;  // "predict: sweep.h200_sxm: ..."
  std::size_t done = 0, reused = 0;   // commands
};

// Runs the phases that are not skipped and writes DIR/report.html, report.md, report.json,
// aiconfigurator.md, tables/*.csv, documents/*.json and state.json.
//
// A command whose words, input files, program and tables are those of an earlier run of this folder
// is not run again. A phase that is skipped contributes what is still valid from before. A command
// that fails leaves its part of the report out and is named there; only a model that cannot be read
// and a folder that cannot be written fail the whole.
using Watcher = std::function<void(std::string_view phase, const std::string& line)>;
Result<Outcome> integrate(const Options& options, CommandRunner& runner, const Watcher& watcher);

}  // namespace dsaperf::integrate
