#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/gzip.hpp"
#include "dsaperf/trace/timeline.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace dsaperf::profile {

// What one process left in its activity log.
struct ProcessRecording {
  std::int64_t process = 0;
  std::string command;
  trace::Timeline timeline;  // with device numbers of the process; origin_ns 0
  std::vector<std::pair<std::string, std::string>> devices;  // UUID and name, by number
  double overhead_ns = 0;                                    // CUPTI's own, where it said so
  std::uint64_t dropped = 0;
  bool ended = false;  // by itself; otherwise the last moments may be missing
};

// Fails with kParse, naming the line, where a line is not as the format has it; a last line that
// was cut is left out.
Result<ProcessRecording> read_activity_log(ByteReader bytes);
Result<ProcessRecording> read_activity_log(const std::filesystem::path& path);

// The recordings on one clock. A GPU that several processes saw under different numbers is one
// device, told by its UUID. Warnings name processes that were killed or lost activities.
trace::Timeline merged(std::vector<ProcessRecording> recordings);

// Of a recorded `dsaperf run`: leaves out what was not launched in a pass that is timed warm
// (set-up, warm-up, cold passes). Where there was none everything stays, and a warning says so.
void keep_timed_passes(trace::Timeline& timeline);

}  // namespace dsaperf::profile
