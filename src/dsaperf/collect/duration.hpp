#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <span>

namespace dsaperf::collect {

// What measuring takes, by what it moves and computes: for the estimate of a plan alone. In the
// order in which a case goes through it (docs/collect.md, "Budget").
struct Duration {
  double shared_s = 0;   // weights and caches that this case is the first to need
  double prepare_s = 0;  // activations allocated, tokens, tables and selections drawn and sent
  double passes_s = 0;   // the GPU: warm-up, samples, evidence
  double host_s = 0;     // recording, reading stamps, the profiler, the row on disk

  double total() const { return shared_s + prepare_s + passes_s + host_s; }
  Duration& operator+=(const Duration& other);
};

// Of `measured`, case after case in one process a GPU: layers and caches are made once. Fails where
// cost knows no work of a case.
Result<std::vector<Duration>> durations(std::span<const Case> measured,
                                        const model::LayerPlan& layer,
                                        const cost::SystemSpec& system);

}  // namespace dsaperf::collect
