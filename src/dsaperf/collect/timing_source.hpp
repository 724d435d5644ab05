#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/model/stage.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::collect {

// Samples of one case in one L2 state, summed up (docs/collect.md, "Timing").
struct Summary {
  Micros median;
  Micros p10;
  Micros p90;
  int count = 0;
  double ci95 = 0;  // half width of the median's 95 % interval, relative to the median
};

struct StageTime {
  model::Stage stage = model::Stage::kQkvAProjection;
  Micros time;              // warm
  Micros cold = {};         // 0: not measured
  std::string kernel = {};  // the name that the profiler saw; empty where none ran
};

// Among the reasons for lower clocks the one that is no disturbance: the case's own load draws the
// card's rated power, and a second measurement would as well. The row keeps it, with its clocks.
inline constexpr std::string_view kPowerCap = "software power cap";

// The card while the case ran, sampled beside it.
struct CardState {
  int sm_mhz = 0;
  int memory_mhz = 0;
  bool clocks_locked = false;
  double power_w = 0;   // average
  double energy_j = 0;  // of the timed calls
  int temperature_c = 0;
  std::vector<std::string> throttle_reasons = {};

  bool power_capped() const {
    return std::ranges::find(throttle_reasons, kPowerCap) != throttle_reasons.end();
  }
  // By something beside the case itself.
  bool slowed_down() const {
    return std::ranges::any_of(throttle_reasons,
                               [](const auto& each) { return each != kPowerCap; });
  }
};

// Of a case that names stages the summaries are of their sum.
struct Measurement {
  Summary cold = {};  // L2 overwritten before each call
  Summary warm = {};  // calls back to back
  std::vector<StageTime> stages = {};
  CardState card = {};
  // Of the attention kernel that ran, as the profiler named it: what a table calls kernel_source.
  std::string kernel_source = {};

  // A sample taken while the card was slowed down is not one.
  bool disturbed() const { return card.slowed_down(); }
};

// The timing method of a CPU's rows: docs/collect.md, "Plans" says what they lack.
inline constexpr std::string_view kCpuMethod = "cpu-1";

// Who measures, on what: written once into every journal and table.
struct SourceInfo {
  std::string framework = {};  // "dsaperf"
  std::string version = {};    // of the program, with the commit
  std::string device = {};     // "NVIDIA H200"
  std::string driver = {};
  std::string method = {};  // "events-1": changes whenever the way of timing does
};

// Where times come from: a GPU, a worker process that has one, or a formula in tests.
class TimingSource {
 public:
  TimingSource() = default;
  TimingSource(const TimingSource&) = delete;
  TimingSource& operator=(const TimingSource&) = delete;
  virtual ~TimingSource() = default;

  virtual const SourceInfo& info() const = 0;

  // An error concerns this case alone; the source can be asked for the next one.
  virtual Result<Measurement> measure(const Case& what) = 0;
};

}  // namespace dsaperf::collect
