#pragma once

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

// Attribute 0 lets the launch overlap the end of the one before; 1 is the cluster.
template <KvRows::Format kFormat, int kProducers>
cudaLaunchConfig_t configure(int grid, int cluster, cudaStream_t stream,
                             cudaLaunchAttribute (&attributes)[2]) {
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(grid);
  config.blockDim = dim3(Roles<kFormat, kProducers>::kThreads);
  config.dynamicSmemBytes = sizeof(SharedStorage<kFormat>);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = cluster > 1 ? 2 : 1;
  return config;
}

template <KvRows::Format kFormat, int kProducers, Merge kMerge>
cudaError_t launch_merging(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream) {
  if (const cudaError_t code = prepare<kFormat, kProducers, kMerge>(); code != cudaSuccess)
    return code;
  cudaLaunchAttribute attributes[2];
  const cudaLaunchConfig_t config =
      configure<kFormat, kProducers>(shape.grid, shape.cluster, stream, attributes);
  return cudaLaunchKernelEx(&config, sparse_mla_kernel<kFormat, kMerge, kProducers>, params);
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
  cudaLaunchAttribute attributes[2];
  const cudaLaunchConfig_t config =
      configure<kFormat, kProducers>(items * parts, 1, stream, attributes);
  const cudaError_t code = cudaLaunchKernelEx(&config, kKernel, parts_params);
  return code == cudaSuccess ? launch_combine(params, parts, workspace, sm_count, stream) : code;
}

template <KvRows::Format kFormat, int kProducers>
cudaError_t resident_clusters(int cluster, int* count) {
  if (const cudaError_t code = prepare<kFormat, kProducers, Merge::kCluster>(); code != cudaSuccess)
    return code;
  cudaLaunchAttribute attributes[2];
  const cudaLaunchConfig_t config =
      configure<kFormat, kProducers>(cluster, cluster, nullptr, attributes);
  return cudaOccupancyMaxActiveClusters(
      count, sparse_mla_kernel<kFormat, Merge::kCluster, kProducers>, &config);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
