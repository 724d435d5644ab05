#pragma once

#include <cstdint>

namespace dsaperf::kernels::testing {

// y[m][n] of products over k.
struct GemmShape {
  std::int64_t m, n, k;
};

// What projections are tried with on a GPU.
inline constexpr GemmShape kGemmShapes[] = {
    {1, 128, 128},
    {1, 2112, 7168},
    {3, 192, 1536},
    {33, 576, 512},
    {65, 320, 2048},
    {128, 128, 256},
    {200, 1152, 640},
    {300, 2176, 1552},
    // More rows whose scales cannot be fetched four at a time.
    {1025, 1990, 1040},
    {4300, 600, 1296},
    {5000, 200, 272},
    // Every tile for many rows, ragged at every edge, some with several a CTA or groups of rows.
    {4300, 600, 1536},
    {1025, 1990, 1024},
    {770, 5000, 512},
    {529, 5000, 512},
    {301, 5000, 512},
    {4120, 600, 512},
    {129, 8200, 512},
    {300, 2176, 512}};

}  // namespace dsaperf::kernels::testing
