#pragma once

#include "dsaperf/kernels/sm90/topk/kernel.cuh"

#include <cuda_runtime.h>

namespace dsaperf::kernels::sm90 {

template <int kThreads>
cudaError_t launch_topk_of(const TopkArguments& arguments, int cluster, cudaStream_t stream) {
  const bool dense = arguments.columns <= arguments.capacity;
  const int bytes = static_cast<int>(sizeof(TopkShared)) + arguments.capacity * (dense ? 4 : 8) +
                    arguments.window / 8;
  cudaError_t status = cudaFuncSetAttribute(
      topk_kernel<kThreads>, cudaFuncAttributeMaxDynamicSharedMemorySize, kTopkMaxShared);
  if (status != cudaSuccess) return status;
  if (cluster > 8) {
    status = cudaFuncSetAttribute(topk_kernel<kThreads>,
                                  cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (status != cudaSuccess) return status;
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(arguments.rows * cluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = static_cast<std::size_t>(bytes);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, topk_kernel<kThreads>, arguments);
}

}  // namespace dsaperf::kernels::sm90
