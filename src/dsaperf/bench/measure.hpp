#pragma once

#include "dsaperf/bench/cases.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/kernels/tuning.hpp"

#include <functional>
#include <string>
#include <vector>

namespace dsaperf::bench {

// One variant at one shape. Times are medians (gpu/timing.hpp says what cold and warm are); spread
// is half the range of the warm samples over their median. `right`: the result was that of the
// default, bit for bit (scores, top-k) or within roundings to bf16 (attention).
struct Timing {
  kernels::TunedShape shape;
  kernels::Variant variant = kernels::Variant::kDefault;
  Values values = Values::kNormal;
  Micros cold, warm;
  double spread = 0;
  bool right = true;
};

// What the numbers depend on.
struct Card {
  std::string device;  // as the driver names it
  int sm_count = 0;
  int sm_mhz = 0, sm_mhz_max = 0;  // 0 where NVML does not say
  double power_limit_w = 0;
  std::vector<std::string> throttled;  // reasons that slow a measurement, now
};

struct MeasureOptions {
  bool quick = false;                                 // a third of the samples
  bool all_variants = false;                          // else what the tuning table says
  std::vector<kernels::Variant> without{};            // of all_variants; kDefault is never left out
  std::function<void(kernels::Variant)> begins = {};  // called before each variant's first run
};

// Each variant on all values that the kernel meets. Of the calling thread's device. kUnsupported
// where this program was built without CUDA, kNotFound without a GPU.
Result<Card> card();
Result<std::vector<Timing>> measure(const kernels::TunedShape& shape,
                                    const MeasureOptions& options);

}  // namespace dsaperf::bench
