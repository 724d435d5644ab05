#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/rope.cuh"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {

cudaError_t launch(const RopeParams& params, cudaStream_t stream) {
  const std::int64_t rows = params.tokens * params.heads;
  if (has_whole_rows(params)) {
    rope_kernel<true>
        <<<grid_size(rows * rope_units<true>(params), kRopeThreads), kRopeThreads, 0, stream>>>(
            params);
  } else {
    rope_kernel<false>
        <<<grid_size(rows * rope_units<false>(params), kRopeThreads), kRopeThreads, 0, stream>>>(
            params);
  }
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::rows
