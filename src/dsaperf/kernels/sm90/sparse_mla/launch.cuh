#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/kernel.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

template <KvRows::Format kFormat>
cudaError_t prepare() {
  static const cudaError_t prepared = [] {  // attributes stay with the function
    const cudaError_t shared =
        cudaFuncSetAttribute(sparse_mla_kernel<kFormat>,
                             cudaFuncAttributeMaxDynamicSharedMemorySize, sizeof(SharedStorage));
    if (shared != cudaSuccess) return shared;
    return cudaFuncSetAttribute(sparse_mla_kernel<kFormat>,
                                cudaFuncAttributeNonPortableClusterSizeAllowed, 1);
  }();
  return prepared;
}

inline cudaLaunchConfig_t configure(int grid, int threads, int cluster, cudaStream_t stream,
                                    cudaLaunchAttribute (&attributes)[2]) {
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(grid);
  config.blockDim = dim3(threads);
  config.dynamicSmemBytes = sizeof(SharedStorage);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return config;
}

template <KvRows::Format kFormat>
cudaError_t launch(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream) {
  if (const cudaError_t code = prepare<kFormat>(); code != cudaSuccess) return code;
  cudaLaunchAttribute attributes[2];
  const cudaLaunchConfig_t config =
      configure(shape.grid, Roles<kFormat>::kThreads, shape.cluster, stream, attributes);
  return cudaLaunchKernelEx(&config, sparse_mla_kernel<kFormat>, params);
}

template <KvRows::Format kFormat>
cudaError_t resident_clusters(int cluster, int* count) {
  if (const cudaError_t code = prepare<kFormat>(); code != cudaSuccess) return code;
  cudaLaunchAttribute attributes[2];
  cudaLaunchConfig_t config =
      configure(cluster, Roles<kFormat>::kThreads, cluster, nullptr, attributes);
  config.numAttrs = 1;
  return cudaOccupancyMaxActiveClusters(count, sparse_mla_kernel<kFormat>, &config);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
