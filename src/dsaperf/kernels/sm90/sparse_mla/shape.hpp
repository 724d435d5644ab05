#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

// How many CTAs share a list: the size with the lowest modelled time on the current device. Device
// facts are read once and kept.
Result<Shape> choose_shape(const SparseMlaParams& params);

// The model itself: `resident[i]` clusters of 2^i CTAs fit the device at once.
Shape choose_shape(std::int64_t items, int blocks, const int (&resident)[5]);

}  // namespace dsaperf::kernels::sm90::sparse_mla
