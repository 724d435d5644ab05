#pragma once

#include "dsaperf/serving/swept_layout.hpp"

#include <optional>

namespace dsaperf::serving {

// A candidate of method model under the scheduler of its engine. `layout`: of its workers, or of
// its decode workers; `prefill`: of those of prefill, nullptr where prefill has none of its own.
// Empty where the simulation fails: a request that never fits.
std::optional<SimulationResult> simulated(const Candidate& candidate, const SweepTask& task,
                                          const SweptLayout& layout, const SweptLayout* prefill);

}  // namespace dsaperf::serving
