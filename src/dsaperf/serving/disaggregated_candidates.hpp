#pragma once

#include "dsaperf/serving/swept_layout.hpp"

#include <span>
#include <string>
#include <vector>

namespace dsaperf::serving {

// What comes of an engine's priced layouts as workers for prefill and workers for decode.
struct DisaggregatedCandidates {
  std::vector<Candidate> all;   // for the front
  std::vector<Candidate> best;  // to be ranked
  std::string rejected;         // why there are none
};

// Method model: the best plan of each pair of layouts (disaggregated_plan.hpp), all to be ranked.
DisaggregatedCandidates planned_candidates(std::span<const SweptLayout> layouts,
                                           const SweptEngine& engine, const SweepTask& task);

// Method compatible: aiconfigurator's pairs (disaggregated_pairs.hpp), the best of each decode
// layout to be ranked.
DisaggregatedCandidates paired_candidates(std::span<const SweptLayout> layouts,
                                          const SweptEngine& engine, const SweepTask& task);

}  // namespace dsaperf::serving
