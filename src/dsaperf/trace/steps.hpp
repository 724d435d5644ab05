#pragma once

#include "dsaperf/trace/rules.hpp"
#include "dsaperf/trace/timeline.hpp"

#include <cstddef>
#include <vector>

namespace dsaperf::trace {

struct Spread {
  std::size_t count = 0;
  double median = 0;
  double p10 = 0;
  double p90 = 0;
  double mean = 0;

  static Spread of(std::vector<double> values);
};

// Launches [begin, end) of Timeline::launches, all of one device; of these count those of `stream`.
struct Window {
  std::size_t begin = 0;
  std::size_t end = 0;
};

// The repetition found in the kernels of one device: steps that run the same kernels, and in each
// the same number of layers. Steps that differ from the rest (warm-up, cut at an end of the
// recording) are left out. Prefill and decode steps are separate entries.
struct Steps {
  std::int32_t device = 0;
  std::int64_t stream = 0;  // the busiest one, in whose order the repetition was found
  Phase phase = Phase::kUnknown;
  std::size_t left_out = 0;  // steps of this device and phase that are not like the others
  std::vector<Window> steps;
  std::size_t layers = 0;         // in each step; 0: no repetition inside
  std::vector<Window> layers_at;  // those that can be told, of all steps
  std::size_t kernels = 0;        // of a step
  Spread span_ns;                 // of a step: first start to last end
  Spread busy_ns;                 // of a step: sum of durations
  Spread layer_ns;                // of a layer: sum of durations
};

// Empty where nothing repeats, and for a summary. Looks for the kernel that recurs most rarely
// with like work in between, those that only the whole step has (embedding, sampling) first: the
// windows it cuts are steps. Layers are told by the attention kernel.
std::vector<Steps> find_steps(const Timeline& timeline, const Classified& classified);

// Idle time of a device between its first and last kernel.
struct Gaps {
  std::int32_t device = 0;
  double span_ns = 0;
  double busy_ns = 0;  // at least one kernel, copy or fill runs
  double idle_ns = 0;
  double launch_ns = 0;  // of the idle time, where the next kernel had not been launched yet
  bool launches_known = false;
  std::size_t gaps = 0;
};
std::vector<Gaps> find_gaps(const Timeline& timeline);

}  // namespace dsaperf::trace
