#pragma once

#include "dsaperf/kernels/sparse_mla.hpp"

#include <cuda_runtime_api.h>

namespace dsaperf::kernels::sm90::sparse_mla {

// How a call is cut into CTAs.
struct Shape {
  int cluster = 1;  // CTAs that share one list and merge in shared memory: 1 ... 16
  int grid = 0;     // CTAs; with cluster == 1 they are persistent and walk over all work items
};

// Work item: one token, up to 64 heads.
inline int head_tiles(int heads) {
  return heads > 64 ? heads / 64 : 1;
}

template <KvRows::Format kFormat>
cudaError_t launch(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream);

// Clusters of this size that the device holds at once.
template <KvRows::Format kFormat>
cudaError_t resident_clusters(int cluster, int* count);

}  // namespace dsaperf::kernels::sm90::sparse_mla
