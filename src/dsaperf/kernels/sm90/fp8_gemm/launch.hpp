#pragma once

#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/plan.hpp"

#include <cuda.h>
#include <cuda_runtime_api.h>

namespace dsaperf::kernels::sm90 {

struct Fp8GemmArguments {
  CUtensorMap x;  // bytes [m][k], boxes of 128 bytes of k
  CUtensorMap w;  // bytes [n][k], the same
  // Of many_rows.cuh alone:
  CUtensorMap x_scales;  // f32 [m][steps], boxes of kManyRowsScaleSteps of k
  CUtensorMap w_scales;  // f32 [blocks of 128 of n][steps], the same
  CUtensorMap y;         // bf16 [m][n], boxes of 64 x 64, if y_by_copy
  bool y_by_copy;
  Fp8GemmParams p;
  int steps;  // of 128 of k
};

// few_rows.cuh: up to kRows rows of x; its boxes are kRows rows, those of w kFewRowsTileN. `parts`
// CTAs (1, 2, 4 or 8) share a tile's sum.
template <int kRows>
cudaError_t launch_fp8_few_rows(const Fp8GemmArguments& arguments, int parts, cudaStream_t stream);

// many_rows.cuh: tiles of 64 * kWarpgroups * kParts x kColumns, by clusters of one or two CTAs. The
// boxes of what two share (shares_x) are half a tile's, the other's, and those of x_scales, a
// tile's.
template <int kWarpgroups, int kParts, int kColumns>
cudaError_t launch_fp8_many_rows(const Fp8GemmArguments& arguments, int ctas, int sm_count,
                                 cudaStream_t stream);

}  // namespace dsaperf::kernels::sm90
