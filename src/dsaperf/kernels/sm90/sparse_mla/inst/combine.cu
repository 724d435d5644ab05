#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/combine.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/parts.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {
namespace {

template <int kThreadPieces>
cudaError_t launch_pieces(const PartsParams& params, int sm_count, cudaStream_t stream) {
  constexpr auto kKernel = combine_parts_kernel<kThreadPieces>;
  static const cudaError_t prepared = [] {  // attributes stay with the function
    const cudaError_t shared = cudaFuncSetAttribute(
        kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kCombineSharedBytes);
    if (shared != cudaSuccess) return shared;
    // As the kernel beside it, so that no SM has to be emptied to divide its memory anew.
    return cudaFuncSetAttribute(kKernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                cudaSharedmemCarveoutMaxShared);
  }();
  if (prepared != cudaSuccess) return prepared;
  const CombineShape shape = combine_shape(params.tokens, params.heads, params.parts, sm_count);
  const EarlyLaunch launch(dim3(static_cast<unsigned>(shape.grid)), shape.threads,
                           kCombineSharedBytes, stream);
  return cudaLaunchKernelEx(launch.config(), kKernel, params);
}

}  // namespace

cudaError_t launch_combine(const SparseMlaParams& params, int parts, void* workspace, int sm_count,
                           cudaStream_t stream) {
  const PartsParams with = with_parts(params, parts, workspace);
  switch (combine_pieces(parts)) {
    case 4:
      return launch_pieces<4>(with, sm_count, stream);
    case 2:
      return launch_pieces<2>(with, sm_count, stream);
    default:
      return launch_pieces<1>(with, sm_count, stream);
  }
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
