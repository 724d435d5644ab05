#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"

#include <functional>

struct CUstream_st;

namespace dsaperf::gpu {

// How a piece of stream-ordered work is timed, everywhere in this project.
//
//   cold  the L2 is overwritten before each call (L2Flush); one event pair a call, launch latency
//         included. What a kernel costs when other layers ran in between.
//   warm  `calls_per_graph` calls in a CUDA graph, replayed; time per call. What a kernel costs
//         back to back, with launches out of the way.
struct TimingOptions {
  int warmup = 3;
  int cold_samples = 15;
  int warm_samples = 5;
  int calls_per_graph = 10;
};

struct TimingResult {
  Micros median;
  Micros lowest;
  Micros highest;
  int samples = 0;

  // Half the range over the median: the noise that a comparison has to exceed.
  double spread() const {
    return median.value > 0 ? 0.5 * (highest.value - lowest.value) / median.value : 0;
  }
};

// Enqueues one call on the stream; must not allocate or synchronise when it is to be captured.
using StreamWork = std::function<Result<void>(CUstream_st*)>;

// Both block until done. time_warm fails with kCuda if the work cannot be captured.
Result<TimingResult> time_cold(const StreamWork& work, const TimingOptions& options = {});
Result<TimingResult> time_warm(const StreamWork& work, const TimingOptions& options = {});

}  // namespace dsaperf::gpu
