#pragma once

#include "dsaperf/kernels/early_launch.hpp"
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
  const std::int64_t resident = std::int64_t{kFewCtasOfSm} * sm_count;
  const EarlyLaunch launch(
      dim3(static_cast<unsigned>(params.tokens < resident ? params.tokens : resident)), kFewThreads,
      sizeof(FewHeadsStorage<kHeads>), stream);
  return cudaLaunchKernelEx(launch.config(), kKernel, params);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
