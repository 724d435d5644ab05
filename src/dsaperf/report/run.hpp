#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/core/units.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::report {

// One stage of a layer that was run. Times are medians; warm is passes back to back, cold after the
// caches were overwritten.
struct RunStage {
  std::string name = {};
  Micros time = {};  // warm where there are warm samples, else cold
  std::optional<Micros> cold = {};
  std::optional<Micros> warm = {};
  double spread = 0;  // half the range over the median, of `time`
  Flops flops = {};
  Bytes bytes = {};  // that must move
  Micros bound = {};
  std::string bound_by = {};  // "math" or "memory"
  // With a check:
  std::optional<double> error = {};  // root mean square against the reference, relative
  double tolerance = 0;
  bool passed = true;
  std::string detail = {};  // what failed
};

struct RunCheck {
  bool passed = false;
  std::int64_t tokens = 0;  // rows compared
};

// What the formats of the caches cost (run --compare-kv).
struct RunComparison {
  std::string scores = {};
  std::string kv = {};
  double selection_overlap = 1, lowest_overlap = 1;
  double output_error = 0, output_error_of_cache = 0, output_error_of_selection = 0;
};

// One layer at one shape on one device: what `dsaperf run` shows.
struct RunReport {
  std::string model = {};
  std::string device = {};
  std::string device_name = {};
  int layer = 0;
  bool shares_selection = false;
  int heads = 0;
  std::int64_t batch = 0, new_tokens = 0, past_tokens = 0;
  std::string kv = {};
  std::string gemm = {};
  std::string scores = {};
  std::string regime = {};
  std::string weights = {};
  std::string launch = {};  // "eager" or "graph"
  std::string system = {};  // of data/systems, whose peaks the bounds use; empty: measured
  int cold_samples = 0, warm_samples = 0;
  // A whole pass, gaps between stages included, where it was timed apart from them.
  std::optional<Micros> whole_cold = {};
  std::optional<Micros> whole_warm = {};
  double peak_flop_per_s = 0, peak_bytes_per_s = 0;
  std::string bound_source = {};  // where the two peaks come from
  std::vector<RunStage> stages = {};
  Bytes weight_bytes = {};
  Bytes cache_bytes = {};
  Bytes activation_bytes = {};
  Bytes peak_memory = {};  // of the process on the CPU, of the device's memory on a GPU
  std::optional<RunCheck> check = {};
  std::vector<RunComparison> comparison = {};
  std::vector<std::string> warnings = {};
};

std::string text(const RunReport& report, const TextStyle& style);
nlohmann::ordered_json json(const RunReport& report);  // dsaperf.run.1

}  // namespace dsaperf::report
