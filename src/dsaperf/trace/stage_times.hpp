#pragma once

#include "dsaperf/trace/rules.hpp"
#include "dsaperf/trace/timeline.hpp"

#include <string>
#include <vector>

namespace dsaperf::trace {

// GPU time of one row of a stage table. Shares are of the time of all kernels.
struct StageTime {
  std::string name;  // of a Part, a group of parts, or a model::Stage
  std::int64_t calls = 0;
  double time_ns = 0;
  double share = 0;
};

struct StageTable {
  std::vector<StageTime> parts;   // most time first; only those that occur
  std::vector<StageTime> groups;  // the same, coarser
  std::vector<StageTime> marked;  // by exact stage, where the recording marks stages
  double unclassified_share = 0;
};
StageTable stage_table(const Timeline& timeline, const Classified& classified);

// The part of each kernel name that takes most of its time: a torch kernel may serve several.
std::vector<Part> main_part_of_names(const Timeline& timeline, const Classified& classified);

}  // namespace dsaperf::trace
