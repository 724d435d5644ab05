#pragma once

#include "dsaperf/kernels/sm90/indexer_select/segments.hpp"

#include <cstdint>

// What the scores of decode leave beside themselves for a selection that runs while other requests
// are still being scored: how many scores there are of each size, and which are all there.
namespace dsaperf::kernels::sm90 {

struct ScoreCounts {
  std::uint32_t* histograms = nullptr;  // [segments, kScoreBins] (segments.hpp)
  // [CTAs]: the CTA's segments of requests before this one are stored and counted. Zero when the
  // grid that selects may begin.
  std::uint32_t* progress = nullptr;
};

}  // namespace dsaperf::kernels::sm90
