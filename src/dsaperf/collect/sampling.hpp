#pragma once

#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"

#include <chrono>
#include <functional>
#include <vector>

// When a measurement is enough (docs/collect.md, "Timing").
namespace dsaperf::collect {

// Median, deciles and how sure the median is: its 95 % interval runs between two order statistics
// of the samples (distribution-free, from the binomial with p = 1/2), and ci95 is half of it over
// the median. Fewer than six samples have no such interval: ci95 is then half the range.
Summary summarise(std::vector<double> samples_us);

struct Stopping {
  int least = 6;         // samples: of fewer the range is no 95 % interval of the median
  int fewest = 3;        // where time is out before that
  int most = 2000;       // samples
  double ci95 = 0.01;    // enough once the median is known to this
  double seconds = 0.3;  // of sampling
  double settle = 0.02;  // warm: two runs of samples whose medians differ by less
  double settle_seconds = 0.1;
};

// Short passes are timed several at once: an event resolves half a microsecond, and a launch on an
// idle GPU takes several.
inline constexpr double kSampleUs = 2000;  // a sample is as many passes as fill it
inline constexpr int kMostPasses = 10;     // of a sample
// A whole layer's stages are timed in as many passes as fill this.
inline constexpr double kStageSamplesUs = 20'000;
inline constexpr int kMostStageSamples = 5;

using Clock = std::function<std::chrono::steady_clock::time_point()>;
using Sample = std::function<Result<Micros>()>;

// Samples until `stopping` is content, those in `begun` among them. The first error ends it.
Result<std::vector<double>> sample_until(const Sample& sample, const Stopping& stopping,
                                         std::vector<double> begun = {},
                                         const Clock& clock = std::chrono::steady_clock::now);

// Runs `sample` until its times have settled: the clocks are up and the caches hold what they will.
// Runs are of five samples; of one where a sample takes more than a tenth of settle_seconds, as it
// then is a run of passes already. Returns the last run, which is as good as what is sampled
// afterwards; nothing where time was out before two runs agreed.
Result<std::vector<double>> settle(const Sample& sample, const Stopping& stopping,
                                   const Clock& clock = std::chrono::steady_clock::now);

}  // namespace dsaperf::collect
