#pragma once

#include "dsaperf/kernels/gemm.hpp"

#include <cuda.h>
#include <cuda_runtime_api.h>

namespace dsaperf::kernels::sm90 {

struct Fp8GemmArguments {
  CUtensorMap x;  // bytes [m][k], boxes of 128 bytes of k
  CUtensorMap w;  // bytes [n][k], the same
  Fp8GemmParams p;
  int steps;  // of 128 of k
};

// few_rows.cuh: tiles of 64 columns of y, up to kRows rows; the boxes of x are kRows rows, those of
// w 64. `parts` CTAs (1, 2, 4 or 8) share a tile's sum.
inline constexpr int kFewRowsTileN = 64;
inline constexpr int kFewRowsMostParts = 8;  // of a portable cluster
template <int kRows>
cudaError_t launch_fp8_few_rows(const Fp8GemmArguments& arguments, int parts, cudaStream_t stream);

// many_rows.cuh: tiles of kTileM x 128, in pairs that share the rows of x; the boxes of x are
// kTileM / 2 rows, those of w 128.
inline constexpr int kManyRowsTileN = 128;
template <int kTileM>
cudaError_t launch_fp8_many_rows(const Fp8GemmArguments& arguments, int sm_count,
                                 cudaStream_t stream);

}  // namespace dsaperf::kernels::sm90
