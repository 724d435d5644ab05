#include "dsaperf/kernels/sm90/indexer_scores/schedule.cuh"

#include <cuda_runtime.h>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr int kThreads = 256;
constexpr int kColumnsOfBlock = 32768;

// Writes -inf to the columns of one row that it does not see. One block takes kColumnsOfBlock
// columns (x) of rows blockIdx.y, + gridDim.y, ...
template <bool kPaged>
__global__ void __launch_bounds__(kThreads)
    fill_outside_kernel(const __grid_constant__ ScoresArguments a) {
  const float minus_infinity = __int_as_float(0xff800000);
  const int first = static_cast<int>(blockIdx.x) * kColumnsOfBlock;
  const int last = min(first + kColumnsOfBlock, a.columns);
  for (int row = static_cast<int>(blockIdx.y); row < a.rows; row += static_cast<int>(gridDim.y)) {
    const RowLimits limits = row_limits<kPaged>(a, row);
    const int seen_begin = limits.length == 0 ? a.columns : limits.start;
    const int seen_end = limits.length == 0 ? a.columns : limits.start + limits.length;
    float* scores = a.scores + row * a.scores_stride;
    for (int key = first + static_cast<int>(threadIdx.x); key < min(last, seen_begin);
         key += kThreads) {
      scores[key] = minus_infinity;
    }
    for (int key = max(first, seen_end) + static_cast<int>(threadIdx.x); key < last;
         key += kThreads) {
      scores[key] = minus_infinity;
    }
  }
}

}  // namespace

cudaError_t launch_fill_outside(const ScoresArguments& arguments, bool paged, cudaStream_t stream) {
  const dim3 grid(
      static_cast<unsigned>((arguments.columns + kColumnsOfBlock - 1) / kColumnsOfBlock),
      static_cast<unsigned>(arguments.rows < 65535 ? arguments.rows : 65535));
  if (paged) {
    fill_outside_kernel<true><<<grid, kThreads, 0, stream>>>(arguments);
  } else {
    fill_outside_kernel<false><<<grid, kThreads, 0, stream>>>(arguments);
  }
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::sm90
