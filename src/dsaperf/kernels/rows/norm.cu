#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/norm.cuh"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {
namespace {

template <int kTeam, int kPieces, typename Params>
cudaError_t launch_pieces(const Params& params, cudaStream_t stream) {
  constexpr int kRows = kNormWarps / kTeam;
  constexpr int kTimes = kPieces == 1 ? 4 : 1;
  if (exceeds_gpu(params.rows, kRows)) {
    return launch_beside(norm_kernel<kTeam, kPieces, kTimes, Params>,
                         grid_size(params.rows, kTimes * kRows), kNormThreads, stream, params);
  }
  return launch_beside(norm_kernel<kTeam, kPieces, 1, Params>, grid_size(params.rows, kRows),
                       kNormThreads, stream, params);
}

template <typename Params>
cudaError_t launch_norm(const Params& params, bool whole, cudaStream_t stream) {
  if (!whole || params.dim > kLongestNormRow)
    return launch_beside(norm_by_value_kernel<Params>, grid_size(params.rows, kNormWarps),
                         kNormThreads, stream, params);
  if (params.dim <= 32 * kPiece) return launch_pieces<1, 1>(params, stream);
  if (params.dim <= 2 * 32 * kPiece) return launch_pieces<2, 1>(params, stream);
  if (params.dim <= 4 * 32 * kPiece) return launch_pieces<4, 1>(params, stream);
  if (params.dim <= 8 * 32 * kPiece) return launch_pieces<8, 1>(params, stream);
  return launch_pieces<8, 4>(params, stream);
}

}  // namespace

cudaError_t launch(const RmsNormParams& params, cudaStream_t stream) {
  return launch_norm(params, has_whole_rows(params), stream);
}

cudaError_t launch(const LayerNormParams& params, cudaStream_t stream) {
  return launch_norm(params, has_whole_rows(params), stream);
}

}  // namespace dsaperf::kernels::rows
