#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/tile_pairs.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template <bool kBeside>
cudaError_t launch_tile_pairs(const SparseMlaParams& params, int grid, cudaStream_t stream) {
  static const cudaError_t prepared =  // attributes stay with the function
      cudaFuncSetAttribute(tile_pairs_kernel<kBeside>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           sizeof(TilePairsStorage));
  if (prepared != cudaSuccess) return prepared;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(grid));
  config.blockDim = dim3(kPairsThreads);
  config.dynamicSmemBytes = sizeof(TilePairsStorage);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, tile_pairs_kernel<kBeside>, params);
}

template cudaError_t launch_tile_pairs<false>(const SparseMlaParams&, int, cudaStream_t);
template cudaError_t launch_tile_pairs<true>(const SparseMlaParams&, int, cudaStream_t);

}  // namespace dsaperf::kernels::sm90::sparse_mla
