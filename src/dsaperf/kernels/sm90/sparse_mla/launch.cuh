#pragma once

#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/kernel.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/parts.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template <KvRows::Format kFormat, int kProducers, Merge kMerge>
cudaError_t prepare() {
  static const cudaError_t prepared = [] {  // attributes stay with the function
    constexpr auto kKernel = sparse_mla_kernel<kFormat, kMerge, kProducers>;
    const cudaError_t shared = cudaFuncSetAttribute(
        kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(SharedStorage<kFormat>));
    if (shared != cudaSuccess || kMerge == Merge::kNone) return shared;
    return cudaFuncSetAttribute(kKernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }();
  return prepared;
}

template <KvRows::Format kFormat, int kProducers>
EarlyLaunch early_launch(int grid, int cluster, cudaStream_t stream) {
  return EarlyLaunch(dim3(static_cast<unsigned>(grid)), Roles<kFormat, kProducers>::kThreads,
                     sizeof(SharedStorage<kFormat>), stream, cluster > 1 ? cluster : 0);
}

template <KvRows::Format kFormat, int kProducers, Merge kMerge>
cudaError_t launch_merging(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream) {
  if (const cudaError_t code = prepare<kFormat, kProducers, kMerge>(); code != cudaSuccess)
    return code;
  const EarlyLaunch launch = early_launch<kFormat, kProducers>(shape.grid, shape.cluster, stream);
  return cudaLaunchKernelEx(launch.config(), sparse_mla_kernel<kFormat, kMerge, kProducers>,
                            params);
}

template <KvRows::Format kFormat, int kProducers>
cudaError_t launch(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream) {
  return shape.cluster > 1
             ? launch_merging<kFormat, kProducers, Merge::kCluster>(params, shape, stream)
             : launch_merging<kFormat, kProducers, Merge::kNone>(params, shape, stream);
}

template <KvRows::Format kFormat, int kProducers>
cudaError_t launch_parts(const SparseMlaParams& params, int parts, void* workspace, int sm_count,
                         cudaStream_t stream) {
  constexpr auto kKernel = sparse_mla_parts_kernel<kFormat, kProducers>;
  static const cudaError_t prepared = cudaFuncSetAttribute(
      kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(SharedStorage<kFormat>));
  if (prepared != cudaSuccess) return prepared;
  const PartsParams parts_params = with_parts(params, parts, workspace);
  const int items = static_cast<int>(params.tokens) * head_tiles(params.heads);
  const EarlyLaunch launch = early_launch<kFormat, kProducers>(items * parts, 1, stream);
  const cudaError_t code = cudaLaunchKernelEx(launch.config(), kKernel, parts_params);
  return code == cudaSuccess ? launch_combine(params, parts, workspace, sm_count, stream) : code;
}

template <KvRows::Format kFormat, int kProducers>
cudaError_t resident_clusters(int cluster, int* count) {
  if (const cudaError_t code = prepare<kFormat, kProducers, Merge::kCluster>(); code != cudaSuccess)
    return code;
  const EarlyLaunch launch = early_launch<kFormat, kProducers>(cluster, cluster, nullptr);
  return cudaOccupancyMaxActiveClusters(
      count, sparse_mla_kernel<kFormat, Merge::kCluster, kProducers>, launch.config());
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
