#pragma once

#include "dsaperf/kernels/sparse_mla.hpp"

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace dsaperf::kernels::sm90::sparse_mla {

// How a call is cut into CTAs.
struct Shape {
  int cluster = 1;    // CTAs that share one list and merge in shared memory: 1 ... 16
  int grid = 0;       // CTAs; with cluster == 1 they are persistent and walk over all work items
  int parts = 1;      // CTAs that share one list and merge through a workspace; then cluster == 1
  int producers = 1;  // warpgroups that gather or convert rows; fp8 rows: 1 or 2
};

// Work item: one token, up to 64 heads.
constexpr int head_tiles(int heads) {
  return heads > 64 ? heads / 64 : 1;
}

// Lists that are split over parts: f32 partial outputs and two statistics of each head.
inline constexpr int kMaxParts = 32;
inline std::size_t parts_workspace(std::int64_t items, int parts) {
  constexpr std::size_t kBytesOfHead = 512 * sizeof(float) + 2 * sizeof(float);
  return static_cast<std::size_t>(items) * parts * 64 * kBytesOfHead;
}

// shape.parts == 1.
template <KvRows::Format kFormat, int kProducers>
cudaError_t launch(const SparseMlaParams& params, const Shape& shape, cudaStream_t stream);

// shape.parts > 1: two kernels, of which the second starts while the first runs and waits for it.
// workspace: 16-byte aligned, parts_workspace(items, parts) bytes.
template <KvRows::Format kFormat, int kProducers>
cudaError_t launch_parts(const SparseMlaParams& params, int parts, void* workspace, int sm_count,
                         cudaStream_t stream);
cudaError_t launch_combine(const SparseMlaParams& params, int parts, void* workspace, int sm_count,
                           cudaStream_t stream);

// bf16 rows, kHeads == params.heads: 8, 16 or 32.
template <int kHeads>
cudaError_t launch_few_heads(const SparseMlaParams& params, int sm_count, cudaStream_t stream);

// Clusters of this size that the device holds at once.
template <KvRows::Format kFormat, int kProducers>
cudaError_t resident_clusters(int cluster, int* count);

}  // namespace dsaperf::kernels::sm90::sparse_mla
