#pragma once

#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"

#include <cstdint>

// Which rows can be read and written in pieces of 16 bytes: they start at multiples of it and end
// with a piece. All others have kernels too, slower ones.
namespace dsaperf::kernels::rows {

inline constexpr std::int64_t kWholeBytes = 16;

inline bool is_whole(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer) % kWholeBytes == 0;
}
inline bool is_whole(const void* pointer, std::int64_t stride_bytes) {
  return is_whole(pointer) && stride_bytes % kWholeBytes == 0;
}

template <typename NormParams>
bool has_whole_norm_rows(const NormParams& params) {
  return params.dim % 8 == 0 && is_whole(params.x, 2 * params.x_stride) &&
         is_whole(params.out, 2 * params.out_stride) && is_whole(params.weight);
}
inline bool has_whole_rows(const RmsNormParams& params) {
  return has_whole_norm_rows(params);
}
inline bool has_whole_rows(const LayerNormParams& params) {
  return has_whole_norm_rows(params) && is_whole(params.bias);
}

// Heads and tokens are rows.
inline bool has_whole_rows(const RopeParams& params) {
  return params.dim % 8 == 0 && is_whole(params.cos_sin) &&
         is_whole(params.x, 2 * params.token_stride) && 2 * params.head_stride % kWholeBytes == 0 &&
         is_whole(params.source, 2 * params.source_token_stride) &&
         2 * params.source_head_stride % kWholeBytes == 0;
}

// Codes are half as long: their rows start at multiples of 8 bytes.
inline bool has_whole_rows(const QuantiseGroupsParams& params) {
  return params.dim % 8 == 0 && is_whole(params.x, 2 * params.x_stride) &&
         is_whole(params.values, 2 * params.values_stride);
}

inline bool has_whole_rows(const IndexerQuantiseParams& params) {
  return is_whole(params.x, 2 * params.x_stride) && is_whole(params.values);
}

inline bool has_whole_rows(const KvCacheWriteParams& params) {
  return is_whole(params.latent, 2 * params.latent_stride) &&
         is_whole(params.rope, 2 * params.rope_stride) &&
         is_whole(params.cache, params.row_stride_bytes);
}

inline bool has_whole_rows(const IndexKeyCacheWriteParams& params) {
  return is_whole(params.values) && is_whole(params.pages, params.page_stride_bytes);
}
inline bool has_whole_rows(const GatherIndexKeysParams& params) {
  return is_whole(params.values) && is_whole(params.pages, params.page_stride_bytes);
}

inline bool has_whole_rows(const RowsToBf16Params& params) {
  return is_whole(params.cache.data, params.cache.row_stride_bytes) && is_whole(params.out);
}

inline bool has_whole_rows(const SelectionRowsParams& params) {
  return params.topk % 4 == 0 && is_whole(params.positions, 4 * params.positions_stride) &&
         is_whole(params.rows, 4 * params.rows_stride);
}

}  // namespace dsaperf::kernels::rows
