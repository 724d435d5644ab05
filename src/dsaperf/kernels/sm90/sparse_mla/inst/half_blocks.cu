#include "dsaperf/kernels/sm90/sparse_mla/half_blocks.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

cudaError_t launch_half_blocks(const SparseMlaParams& params, int grid, cudaStream_t stream) {
  static const cudaError_t prepared =  // attributes stay with the function
      cudaFuncSetAttribute(half_blocks_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           sizeof(HalfBlocksStorage));
  if (prepared != cudaSuccess) return prepared;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid));
  config.blockDim = dim3(kHalfThreads);
  config.dynamicSmemBytes = sizeof(HalfBlocksStorage);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, half_blocks_kernel, params);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
