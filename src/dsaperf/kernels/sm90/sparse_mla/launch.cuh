#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/kernel.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

template <KvRows::Format kFormat, bool kClustered>
cudaError_t prepare() {
  static const cudaError_t prepared = [] {  // attributes stay with the function
    const cudaError_t shared = cudaFuncSetAttribute(sparse_mla_kernel<kFormat, kClustered>,
                                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                    sizeof(SharedStorage<kFormat>));
    if (shared != cudaSuccess || !kClustered) return shared;
    return cudaFuncSetAttribute(sparse_mla_kernel<kFormat, kClustered>,
                                cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }();
  return prepared;
}

// Attribute 0 lets the launch overlap the end of the one before; 1 is the cluster.
template <KvRows::Format kFormat>
cudaLaunchConfig_t configure(int grid, int cluster, cudaStream_t stream,
                             cudaLaunchAttribute (&attributes)[2]) {
  attributes[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[0].val.programmaticStreamSerializationAllowed = 1;
  attributes[1].id = cudaLaunchAttributeClusterDimension;
  attributes[1].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(grid);
  config.blockDim = dim3(Roles<kFormat>::kThreads);
  config.dynamicSmemBytes = sizeof(SharedStorage<kFormat>);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = cluster > 1 ? 2 : 1;
  return config;
}

template <KvRows::Format kFormat, bool kClustered>
cudaError_t launch_variant(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream) {
  if (const cudaError_t code = prepare<kFormat, kClustered>(); code != cudaSuccess) return code;
  cudaLaunchAttribute attributes[2];
  const cudaLaunchConfig_t config =
      configure<kFormat>(shape.grid, shape.cluster, stream, attributes);
  return cudaLaunchKernelEx(&config, sparse_mla_kernel<kFormat, kClustered>, params);
}

template <KvRows::Format kFormat>
cudaError_t launch(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream) {
  return shape.cluster > 1 ? launch_variant<kFormat, true>(params, shape, stream)
                           : launch_variant<kFormat, false>(params, shape, stream);
}

template <KvRows::Format kFormat>
cudaError_t resident_clusters(int cluster, int* count) {
  if (const cudaError_t code = prepare<kFormat, true>(); code != cudaSuccess) return code;
  cudaLaunchAttribute attributes[2];
  const cudaLaunchConfig_t config = configure<kFormat>(cluster, cluster, nullptr, attributes);
  return cudaOccupancyMaxActiveClusters(count, sparse_mla_kernel<kFormat, true>, &config);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
