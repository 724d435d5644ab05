#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/few_heads.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

template <int kHeads>
cudaError_t launch_few_heads(const SparseMlaParams& params, int sm_count, cudaStream_t stream) {
  constexpr auto kKernel = few_heads_kernel<kHeads>;
  static const cudaError_t prepared = [] {  // attributes stay with the function
    const cudaError_t shared = cudaFuncSetAttribute(
        kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(FewHeadsStorage<kHeads>));
    if (shared != cudaSuccess) return shared;
    return cudaFuncSetAttribute(kKernel, cudaFuncAttributePreferredSharedMemoryCarveout,
                                cudaSharedmemCarveoutMaxShared);
  }();
  if (prepared != cudaSuccess) return prepared;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  const std::int64_t resident = std::int64_t{kFewCtasOfSm} * sm_count;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(params.tokens < resident ? params.tokens : resident));
  config.blockDim = dim3(kFewThreads);
  config.dynamicSmemBytes = sizeof(FewHeadsStorage<kHeads>);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kKernel, params);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
