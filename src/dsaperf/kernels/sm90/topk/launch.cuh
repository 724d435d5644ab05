#pragma once

#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/topk/kernel.cuh"
#include "dsaperf/kernels/sm90/topk/short_kernel.cuh"
#include "dsaperf/kernels/sm90/topk/spread_kernel.cuh"

#include <cuda_runtime.h>

#include <algorithm>

namespace dsaperf::kernels::sm90 {

// Launches kKernel, which waits itself for the grid before it, with this much of shared memory.
template <auto kKernel>
cudaError_t launch_rows(const TopkArguments& arguments, int threads, int clusters, int cluster,
                        std::size_t bytes, cudaStream_t stream) {
  cudaError_t status =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTopkMaxShared);
  if (status != cudaSuccess) return status;
  if (cluster > 8) {
    status = cudaFuncSetAttribute(kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
    if (status != cudaSuccess) return status;
  }
  const EarlyLaunch launch(dim3(static_cast<unsigned>(clusters * cluster)), threads, bytes, stream,
                           cluster > 1 ? cluster : 0);
  return cudaLaunchKernelEx(launch.config(), kKernel, arguments);
}

// More than half of an SM's, where the CTA is to be alone there.
inline std::size_t shared_bytes(std::size_t bytes, bool alone) {
  return alone ? std::max<std::size_t>(bytes, kTopkMaxShared / 2 + 1024) : bytes;
}

template <int kThreads>
cudaError_t launch_topk(const TopkArguments& arguments, int cluster, cudaStream_t stream) {
  const std::size_t bytes = sizeof(TopkShared) +
                            static_cast<std::size_t>(arguments.capacity) * sizeof(Candidate) +
                            static_cast<std::size_t>(arguments.window) / 8;
  return launch_rows<topk_kernel<kThreads>>(arguments, kThreads, arguments.rows, cluster, bytes,
                                            stream);
}

template <int kThreads, int kValues>
cudaError_t launch_short_topk(const TopkArguments& arguments, bool alone, cudaStream_t stream) {
  const std::size_t bytes =
      sizeof(TopkShared) + static_cast<std::size_t>(arguments.topk) * sizeof(std::int32_t);
  return launch_rows<short_topk_kernel<kThreads, kValues>>(arguments, kThreads, arguments.rows, 1,
                                                           shared_bytes(bytes, alone), stream);
}

template <int kThreads, int kValues, SpreadRows kRows>
cudaError_t launch_spread_topk(const TopkArguments& arguments, int cluster, bool alone,
                               cudaStream_t stream) {
  const std::size_t bytes =
      sizeof(SpreadShared) +
      std::min<std::size_t>(arguments.topk, kThreads * kValues) * sizeof(std::int32_t);
  const int clusters =
      kRows == SpreadRows::kSegments ? arguments.rows * arguments.segments : arguments.rows;
  return launch_rows<spread_topk_kernel<kThreads, kValues, kRows>>(
      arguments, kThreads, clusters, cluster, shared_bytes(bytes, alone), stream);
}

}  // namespace dsaperf::kernels::sm90
