#pragma once

#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/e4m3_bf16.cuh"
#include "dsaperf/kernels/rows/begin.cuh"
#include "dsaperf/kernels/rows/fp8_group.cuh"
#include "dsaperf/kernels/rows/pieces.cuh"

#include <type_traits>

// Into the paged caches and out of them. Copies are exact; fp8 rows are quantised 16 lanes a group.
// What is copied is loaded beside the slot that says where to, not after it.
//
//   bound by  the row's bytes, read and written
//   limits    64-bit offsets throughout: caches beyond 2^31 bytes; rows and pages that do not start
//             at multiples of 16 bytes are copied value by value
namespace dsaperf::kernels::rows {

inline constexpr int kCacheThreads = 256;

// Teams of 16 lanes a token: teams 0 ... 3 take the latent's groups of 128, team 4 the rope.
inline constexpr int kPartLanes = kQuantGroup / kPiece;
inline constexpr int kPartsAtOnce = kCacheThreads / kPartLanes;
inline constexpr int kParts = kKvFp8Scales + 1;

template <bool kWhole>
__global__ void __launch_bounds__(kCacheThreads)
    kv_cache_write_kernel(const KvCacheWriteParams params) {
  begin_beside_previous_grid();
  const int lane = threadIdx.x % kPartLanes;
  const std::int64_t count = params.tokens * kParts;
  const bool fp8 = params.format == KvRows::Format::kFp8;
  // Whole CTAs take part to the end, for the shuffles.
  for (std::int64_t begin = std::int64_t{blockIdx.x} * kPartsAtOnce; begin < count;
       begin += std::int64_t{gridDim.x} * kPartsAtOnce) {
    const std::int64_t item = begin + threadIdx.x / kPartLanes;
    const std::int64_t token = item / kParts;
    const int part = static_cast<int>(item - token * kParts);
    const bool is_rope = part == kKvFp8Scales;
    const int column = lane * kPiece;
    const int dim = item >= count ? 0 : is_rope ? kRopeDim : kQuantGroup;
    const auto* from =
        is_rope ? bf16_row(params.rope, token * params.rope_stride)
                : bf16_row(params.latent, token * params.latent_stride + part * kQuantGroup);
    const std::int64_t slot = item < count ? params.slots[token] : -1;
    const Words words = load_piece<kWhole>(from, column, dim);
    float values[kPiece];
    unpack(words, values);
    const float scale = group_scale(group_absmax<kPartLanes>(values), params.scale_format);
    if (slot < 0 || slot >= params.rows) continue;
    auto* row = static_cast<std::uint8_t*>(params.cache) + slot * params.row_stride_bytes;
    if (is_rope || !fp8) {
      const int offset = !is_rope ? 2 * part * kQuantGroup
                         : fp8    ? kKvFp8RopeOffset
                                  : 2 * kLatentDim;
      store_piece<kWhole>(reinterpret_cast<std::uint16_t*>(row + offset), column, dim, words);
    } else {
      std::uint32_t codes[kPiece / 4];
      group_codes(values, scale, params.scale_format, codes);
      store_codes<kWhole>(row + part * kQuantGroup, column, dim, codes[0], codes[1]);
      if (lane == 0) reinterpret_cast<float*>(row + kKvFp8ScaleOffset)[part] = scale;
    }
  }
}

// An index key is eight pieces of 16 bytes: lane i takes the i-th.
inline constexpr int kKeyBytes = 16;
inline constexpr int kKeyLanes = kIndexDim / kKeyBytes;
inline constexpr int kKeysAtOnce = kCacheThreads / kKeyLanes;

template <bool kWhole>
__device__ inline void copy_key_part(const std::uint8_t* from, std::uint8_t* to, int lane) {
  if constexpr (kWhole) {
    *reinterpret_cast<uint4*>(to + lane * kKeyBytes) =
        *reinterpret_cast<const uint4*>(from + lane * kKeyBytes);
  } else {
    for (int i = lane; i < kIndexDim; i += kKeyLanes) to[i] = from[i];
  }
}

template <bool kWhole>
__global__ void __launch_bounds__(kCacheThreads)
    index_key_cache_write_kernel(const IndexKeyCacheWriteParams params) {
  begin_beside_previous_grid();
  const int lane = threadIdx.x % kKeyLanes;
  for (std::int64_t token = std::int64_t{blockIdx.x} * kKeysAtOnce + threadIdx.x / kKeyLanes;
       token < params.tokens; token += std::int64_t{gridDim.x} * kKeysAtOnce) {
    const std::int64_t slot = params.slots[token];
    if (slot < 0 || slot / kPageTokens >= params.page_count) continue;
    auto* page = params.pages + slot / kPageTokens * params.page_stride_bytes;
    const auto offset = slot % kPageTokens;
    copy_key_part<kWhole>(params.values + token * kIndexDim, page + offset * kIndexDim, lane);
    if (lane == 0)
      reinterpret_cast<float*>(page + kIndexPageScaleOffset)[offset] = params.scales[token];
  }
}

template <bool kWhole>
__global__ void __launch_bounds__(kCacheThreads)
    gather_index_keys_kernel(const GatherIndexKeysParams params) {
  begin_beside_previous_grid();
  const int lane = threadIdx.x % kKeyLanes;
  for (std::int64_t token = std::int64_t{blockIdx.x} * kKeysAtOnce + threadIdx.x / kKeyLanes;
       token < params.tokens; token += std::int64_t{gridDim.x} * kKeysAtOnce) {
    const std::int64_t number = params.block_table[token / kPageTokens];
    const auto* page = params.pages + number * params.page_stride_bytes;
    const auto offset = token % kPageTokens;
    copy_key_part<kWhole>(page + offset * kIndexDim, params.values + token * kIndexDim, lane);
    if (lane == 0) {
      params.scales[token] = reinterpret_cast<const float*>(page + kIndexPageScaleOffset)[offset];
    }
  }
}

// A CTA a page. Eight codes a thread and row, so that both the row's 64 loads of 8 bytes and its
// stores of 16 are neighbours; half of a page's are on their way at once.
inline constexpr int kLatentPieces = kLatentDim / kPiece;
inline constexpr int kLatentRowsAtOnce = kCacheThreads / kLatentPieces;  // 4
inline constexpr int kRopePieces = kRopeDim / kPiece;
inline constexpr int kRopeRowsAtOnce = kCacheThreads / kRopePieces;  // 32

__global__ void __launch_bounds__(kCacheThreads)
    rows_to_bf16_kernel(const RowsToBf16Params params) {
  begin_beside_previous_grid();
  const int latent_row = threadIdx.x / kLatentPieces;
  const int latent_column = threadIdx.x % kLatentPieces * kPiece;
  const int rope_row = threadIdx.x / kRopePieces;
  const int rope_column = threadIdx.x % kRopePieces * kPiece;
  const std::int64_t stride = params.cache.row_stride_bytes;
  for (std::int64_t i = blockIdx.x; i < params.page_count; i += gridDim.x) {
    const std::int64_t page = params.pages[i];
    if (page < 0 || page >= params.cache.rows / kPageTokens) continue;
    const auto* from =
        static_cast<const std::uint8_t*>(params.cache.data) + page * kPageTokens * stride;
    auto* to = bf16_row(params.out, i * kPageTokens * kKeyDim);
#pragma unroll
    for (int row = rope_row; row < kPageTokens; row += kRopeRowsAtOnce) {
      const auto* source =
          reinterpret_cast<const std::uint16_t*>(from + row * stride + kKvFp8RopeOffset);
      store_piece<true>(to + row * kKeyDim + kLatentDim, rope_column, kRopeDim,
                        load_piece<true>(source, rope_column, kRopeDim));
    }
    constexpr int kTimes = kPageTokens / kLatentRowsAtOnce / 2;
#pragma unroll 1
    for (int half = 0; half < 2; ++half) {
      uint2 codes[kTimes];
      float scales[kTimes];
      const int first = half * kTimes * kLatentRowsAtOnce + latent_row;
#pragma unroll
      for (int t = 0; t < kTimes; ++t) {
        const auto* row = from + (first + t * kLatentRowsAtOnce) * stride;
        codes[t] = *reinterpret_cast<const uint2*>(row + latent_column);
        scales[t] =
            reinterpret_cast<const float*>(row + kKvFp8ScaleOffset)[latent_column / kQuantGroup];
      }
#pragma unroll
      for (int t = 0; t < kTimes; ++t) {
        const Words words = {
            {scaled_bf16(codes[t].x, scales[t]), scaled_bf16(codes[t].x >> 16, scales[t]),
             scaled_bf16(codes[t].y, scales[t]), scaled_bf16(codes[t].y >> 16, scales[t])}};
        store_piece<true>(to + (first + t * kLatentRowsAtOnce) * kKeyDim, latent_column, kLatentDim,
                          words);
      }
    }
  }
}

__device__ inline std::int32_t cache_row(const SelectionRowsParams& params,
                                         const std::int32_t* pages, std::int32_t position) {
  if (position < 0 || position / kPageTokens >= params.block_table_stride) return -1;
  return pages[position / kPageTokens] * kPageTokens + position % kPageTokens;
}

// kWide: four positions a thread.
template <bool kWide>
__global__ void __launch_bounds__(kCacheThreads)
    selection_rows_kernel(const SelectionRowsParams params) {
  begin_beside_previous_grid();
  constexpr int kEach = kWide ? 4 : 1;
  const std::int64_t a_token = params.topk / kEach;
  const std::int64_t count = params.tokens * a_token;
  for (std::int64_t e = std::int64_t{blockIdx.x} * kCacheThreads + threadIdx.x; e < count;
       e += std::int64_t{gridDim.x} * kCacheThreads) {
    const std::int64_t token = e / a_token;
    const std::int64_t place = (e - token * a_token) * kEach;
    const auto* from = params.positions + token * params.positions_stride + place;
    auto* to = params.rows + token * params.rows_stride + place;
    const auto* pages =
        params.block_table + std::int64_t{params.request[token]} * params.block_table_stride;
    if constexpr (kWide) {
      const int4 positions = *reinterpret_cast<const int4*>(from);
      *reinterpret_cast<int4*>(to) =
          make_int4(cache_row(params, pages, positions.x), cache_row(params, pages, positions.y),
                    cache_row(params, pages, positions.z), cache_row(params, pages, positions.w));
    } else {
      *to = cache_row(params, pages, *from);
    }
  }
}

}  // namespace dsaperf::kernels::rows
