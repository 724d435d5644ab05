#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

// How many CTAs share a list: the size with the lowest modelled time on the current device. Device
// facts are read once and kept.
Result<Shape> choose_shape(const SparseMlaParams& params);

inline constexpr int kMaxClusterSize = 16;

// The model itself: `resident[c - 1]` clusters of c CTAs fit the device at once. They have to fit
// into the device's groups of SMs, which are not all of one size: of 132 SMs, clusters of 4 take
// 124, and 32 of them need two rounds.
Shape choose_shape(std::int64_t items, int heads, int blocks, double block_clocks,
                   const int (&resident)[kMaxClusterSize]);

}  // namespace dsaperf::kernels::sm90::sparse_mla
