#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"

#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Writes new tokens into the paged caches. A slot is page * 64 + offset; -1 skips the token, as
// does a slot outside the cache. Two tokens with one slot are the caller's fault.

// Stage 5. bf16 rows are copied; fp8 rows get one scale per 128 latent values, rope stays bf16.
struct KvCacheWriteParams {
  const void* latent = nullptr;         // [tokens, 512] bf16
  const void* rope = nullptr;           // [tokens, 64] bf16
  const std::int64_t* slots = nullptr;  // [tokens]
  void* cache = nullptr;                // [rows], row_stride_bytes apart
  std::int64_t tokens = 0;
  std::int64_t rows = 0;           // of the cache: 64 * pages
  std::int64_t latent_stride = 0;  // elements
  std::int64_t rope_stride = 0;    // elements
  std::int64_t row_stride_bytes = 0;
  KvRows::Format format = KvRows::Format::kBf16;
  ScaleFormat scale_format = ScaleFormat::kUe8m0;
};

// Stage 8. A page holds 64 x 128 e4m3, then 64 f32 scales.
struct IndexKeyCacheWriteParams {
  const std::uint8_t* values = nullptr;  // [tokens, 128] e4m3
  const float* scales = nullptr;         // [tokens]
  const std::int64_t* slots = nullptr;   // [tokens]
  std::uint8_t* pages = nullptr;         // [page_count], page_stride_bytes apart
  std::int64_t tokens = 0;
  std::int64_t page_count = 0;
  std::int64_t page_stride_bytes = 0;  // 8448 when packed
};

Result<void> kv_cache_write_check(const KvCacheWriteParams& params);
Result<void> index_key_cache_write_check(const IndexKeyCacheWriteParams& params);

Result<void> kv_cache_write(const KvCacheWriteParams& params, CUstream_st* stream);
Result<void> index_key_cache_write(const IndexKeyCacheWriteParams& params, CUstream_st* stream);

Result<void> kv_cache_write_reference(const KvCacheWriteParams& params);
Result<void> index_key_cache_write_reference(const IndexKeyCacheWriteParams& params);

}  // namespace dsaperf::kernels
