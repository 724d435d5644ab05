#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kMaxClusterSize = 16;

// One launch: a run of tokens, and how it is cut.
struct Launch {
  std::int64_t first_token = 0;
  std::int64_t tokens = 0;
  Shape shape;
};

// What a call launches on a device where resident[c - 1] clusters of c CTAs fit at once: one
// launch, or two when a last round of persistent CTAs would leave most of the device idle; the
// tokens of that round then share their lists over clusters. Clusters have to fit into the device's
// groups of SMs, which are not all of one size: of 132 SMs, clusters of 4 take 124, and 32 of them
// need two rounds. Chosen by modelled time. tokens 0 in the second: not needed.
struct Plan {
  Launch launches[2];
};
Plan choose_plan(std::int64_t tokens, int heads, int blocks, KvRows::Format format,
                 const int (&resident)[kMaxClusterSize]);

// For the current device; what is asked of it is read once and kept.
Result<Plan> choose_plan(const SparseMlaParams& params);

}  // namespace dsaperf::kernels::sm90::sparse_mla
