#include "dsaperf/kernels/rows/fp8_group.cuh"
#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"

#include <cuda_bf16.h>

// Into the paged caches and out of them. Copies are exact; fp8 rows are quantised a warp a group.
//
//   bound by  the row's bytes, read and written
//   limits    64-bit offsets throughout: caches beyond 2^31 bytes
namespace dsaperf::kernels::rows {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;

// One warp a token and part: parts 0 ... 3 are the latent's groups of 128, part 4 is the rope.
constexpr int kParts = kKvFp8Scales + 1;

__global__ void __launch_bounds__(kThreads) kv_cache_write_kernel(const KvCacheWriteParams params) {
  const int lane = threadIdx.x % 32;
  for (std::int64_t w = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
       w < params.tokens * kParts; w += std::int64_t{gridDim.x} * kWarps) {
    const std::int64_t token = w / kParts;
    const int part = static_cast<int>(w % kParts);
    const std::int64_t slot = params.slots[token];
    if (slot < 0 || slot >= params.rows) continue;
    auto* row = static_cast<unsigned char*>(params.cache) + slot * params.row_stride_bytes;
    const bool fp8 = params.format == KvRows::Format::kFp8;
    if (part == kKvFp8Scales) {
      const auto* rope =
          static_cast<const __nv_bfloat16*>(params.rope) + token * params.rope_stride;
      auto* out = reinterpret_cast<__nv_bfloat16*>(row + (fp8 ? kKvFp8RopeOffset : 2 * kLatentDim));
      for (int i = lane; i < kRopeDim; i += 32) out[i] = rope[i];
      continue;
    }
    const auto* latent = static_cast<const __nv_bfloat16*>(params.latent) +
                         token * params.latent_stride + part * kQuantGroup + lane * kLaneValues;
    if (!fp8) {
      auto* out = reinterpret_cast<__nv_bfloat16*>(row) + part * kQuantGroup + lane * kLaneValues;
#pragma unroll
      for (int i = 0; i < kLaneValues; ++i) out[i] = latent[i];
      continue;
    }
    float values[kLaneValues];
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) values[i] = __bfloat162float(latent[i]);
    const float scale = group_scale(group_absmax(values), params.scale_format);
    const std::uint32_t packed = group_values(values, scale);
    auto* out = row + part * kQuantGroup + lane * kLaneValues;
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) out[i] = static_cast<unsigned char>(packed >> (8 * i));
    if (lane == 0) reinterpret_cast<float*>(row + kKvFp8ScaleOffset)[part] = scale;
  }
}

__global__ void __launch_bounds__(kThreads)
    index_key_cache_write_kernel(const IndexKeyCacheWriteParams params) {
  const int lane = threadIdx.x % 32;
  for (std::int64_t token = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
       token < params.tokens; token += std::int64_t{gridDim.x} * kWarps) {
    const std::int64_t slot = params.slots[token];
    if (slot < 0 || slot / kPageTokens >= params.page_count) continue;
    auto* page = params.pages + slot / kPageTokens * params.page_stride_bytes;
    const auto offset = slot % kPageTokens;
    for (int i = lane; i < kIndexDim; i += 32) {
      page[offset * kIndexDim + i] = params.values[token * kIndexDim + i];
    }
    if (lane == 0)
      reinterpret_cast<float*>(page + kIndexPageScaleOffset)[offset] = params.scales[token];
  }
}

__global__ void __launch_bounds__(kThreads)
    gather_index_keys_kernel(const GatherIndexKeysParams params) {
  const int lane = threadIdx.x % 32;
  for (std::int64_t token = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
       token < params.tokens; token += std::int64_t{gridDim.x} * kWarps) {
    const std::int64_t number = params.block_table[token / kPageTokens];
    const auto* page = params.pages + number * params.page_stride_bytes;
    const auto offset = token % kPageTokens;
    for (int i = lane; i < kIndexDim; i += 32) {
      params.values[token * kIndexDim + i] = page[offset * kIndexDim + i];
    }
    if (lane == 0) {
      params.scales[token] = reinterpret_cast<const float*>(page + kIndexPageScaleOffset)[offset];
    }
  }
}

__global__ void __launch_bounds__(kThreads)
    selection_rows_kernel(const SelectionRowsParams params) {
  const std::int64_t entries = params.tokens * params.topk;
  for (std::int64_t e = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; e < entries;
       e += std::int64_t{gridDim.x} * kThreads) {
    const std::int64_t token = e / params.topk;
    const std::int64_t place = e % params.topk;
    const std::int32_t position = params.positions[token * params.positions_stride + place];
    std::int32_t row = -1;
    if (position >= 0 && position / kPageTokens < params.block_table_stride) {
      const std::int32_t page =
          params.block_table[params.request[token] * params.block_table_stride +
                             position / kPageTokens];
      row = page * kPageTokens + position % kPageTokens;
    }
    params.rows[token * params.rows_stride + place] = row;
  }
}

}  // namespace

cudaError_t launch(const KvCacheWriteParams& params, cudaStream_t stream) {
  kv_cache_write_kernel<<<grid_size(params.tokens * kParts, kWarps), kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t launch(const IndexKeyCacheWriteParams& params, cudaStream_t stream) {
  index_key_cache_write_kernel<<<grid_size(params.tokens, kWarps), kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t launch(const GatherIndexKeysParams& params, cudaStream_t stream) {
  gather_index_keys_kernel<<<grid_size(params.tokens, kWarps), kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t launch(const SelectionRowsParams& params, cudaStream_t stream) {
  selection_rows_kernel<<<grid_size(params.tokens * params.topk, kThreads), kThreads, 0, stream>>>(
      params);
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::rows
