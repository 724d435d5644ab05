#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/stages/part_table.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace dsaperf::predict::stages {

// Fitted parameters by the hash of the part they belong to: those that ship with the program
// (data/predict/parameters.csv) and those that were fitted here before ($XDG_CACHE_HOME or
// ~/.cache, dsaperf/parameters.csv). One line a part:
//
//   hash,length_1 .. length_6,step_1 .. step_4,signal,noise,variance_1,width_1 .. variance_3,
//   width_3,heads_width .. past_width,edge_variance_1 .. edge_past_width,host_floor_ms,weights,
//   defects,what
//
// `weights`: the stage weights of the whole part, by spaces; empty: fitted when the part is asked
// for.
//
// A file that is missing, of another format or damaged is as good as empty: its parts are fitted
// again.
class HyperparameterStore {
 public:
  // Reads both files.
  static HyperparameterStore open();
  // Neither reads nor writes a file.
  static HyperparameterStore in_memory() { return {}; }

  // What is kept for the part, else fitted now and kept, rounded as the file has it, so that the
  // run that fits answers as those that read. `note` is told before a part is fitted.
  PartParameters of(const Part& part, const std::function<void(const Part&)>& note = {});

  bool knows(const Part& part) { return find(part.hash) != nullptr; }
  // What lint found when the part was fitted; empty: nothing, or the part is not known.
  std::string_view defects_of(const Part& part);

  std::size_t fitted() const { return fitted_; }  // parts fitted by this object

  // The user's, dsaperf/ below it; empty: nothing is kept.
  const std::filesystem::path& cache_folder() const { return cache_; }

  // Writes what it knows of the parts of these hashes, as data/predict/parameters.csv is.
  struct Written {
    std::size_t lines = 0;
    std::size_t left_out = 0;  // known, but of none of the parts
  };
  Result<Written> write(const std::filesystem::path& path, const std::set<std::uint64_t>& hashes);

 private:
  struct Entry {
    PartParameters parameters;
    std::string defects;
    std::string what;  // for people: architecture, dtypes, kernel, regime
  };

  // Notes where each part's line is.
  void read(const std::filesystem::path& path);
  // nullptr: not known. A line is parsed when its part is first asked for: of some 1,000 that ship,
  // a table has 20 to 70.
  Entry* find(std::uint64_t hash);
  static std::optional<Entry> parse(std::string_view line);
  static std::string line_of(std::uint64_t hash, const Entry& entry);
  void parse_all();
  Result<void> keep();  // all it knows, in the user's file

  std::vector<std::shared_ptr<const std::string>> texts_;      // of the files
  std::unordered_map<std::uint64_t, std::string_view> lines_;  // in texts_, not parsed yet
  std::map<std::uint64_t, Entry> known_;
  std::filesystem::path cache_;
  std::size_t fitted_ = 0;
};

}  // namespace dsaperf::predict::stages
