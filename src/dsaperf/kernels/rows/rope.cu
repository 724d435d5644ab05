#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/rope.cuh"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {

cudaError_t launch(const RopeParams& params, cudaStream_t stream) {
  const std::int64_t rows = params.tokens * params.heads;
  const bool whole = has_whole_rows(params);
  const std::int64_t units = rows * (whole ? rope_units<true>(params) : rope_units<false>(params));
  return launch_beside(whole ? rope_kernel<true> : rope_kernel<false>,
                       grid_size(units, kRopeThreads), kRopeThreads, stream, params);
}

}  // namespace dsaperf::kernels::rows
