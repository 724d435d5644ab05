#pragma once

#include "dsaperf/kernels/sm90/topk/kernel.cuh"
#include "dsaperf/kernels/sm90/topk/short_kernel.cuh"
#include "dsaperf/kernels/sm90/topk/spread_kernel.cuh"

#include <cuda_runtime.h>

#include <algorithm>

namespace dsaperf::kernels::sm90 {

template <int kThreads>
cudaError_t launch_topk(const TopkArguments& arguments, int cluster, cudaStream_t stream) {
  const std::size_t bytes = sizeof(TopkShared) +
                            static_cast<std::size_t>(arguments.capacity) * sizeof(Candidate) +
                            static_cast<std::size_t>(arguments.window) / 8;
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
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, topk_kernel<kThreads>, arguments);
}

template <int kThreads, int kValues>
cudaError_t launch_short_topk(const TopkArguments& arguments, cudaStream_t stream) {
  const std::size_t bytes =
      sizeof(TopkShared) + static_cast<std::size_t>(arguments.topk) * sizeof(std::int32_t);
  short_topk_kernel<kThreads, kValues>
      <<<static_cast<unsigned>(arguments.rows), kThreads, bytes, stream>>>(arguments);
  return cudaGetLastError();
}

template <int kThreads, int kValues>
cudaError_t launch_spread_topk(const TopkArguments& arguments, int cluster, cudaStream_t stream) {
  constexpr auto kKernel = spread_topk_kernel<kThreads, kValues>;
  const std::size_t bytes =
      sizeof(SpreadShared) +
      std::min<std::size_t>(arguments.topk, kThreads * kValues) * sizeof(std::int32_t);
  cudaError_t status =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTopkMaxShared);
  if (status != cudaSuccess) return status;
  if (cluster > 8) {
    status = cudaFuncSetAttribute(kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (status != cudaSuccess) return status;
  }
  cudaLaunchAttribute attributes[2];
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(arguments.rows * cluster));
  config.blockDim = dim3(kThreads);
  config.dynamicSmemBytes = bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kKernel, arguments);
}

}  // namespace dsaperf::kernels::sm90
