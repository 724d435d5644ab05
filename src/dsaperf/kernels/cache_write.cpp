#include "dsaperf/kernels/cache_write.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/quantise.hpp"

#include <array>
#include <cstring>

namespace dsaperf::kernels {

Result<void> kv_cache_write_check(const KvCacheWriteParams& params) {
  const auto& p = params;
  if (p.tokens < 0 || p.rows < 0)
    return fail(Errc::kInvalidArgument, "kv_cache_write: {} tokens, {} rows", p.tokens, p.rows);
  if (p.format != KvRows::Format::kBf16 && p.format != KvRows::Format::kFp8)
    return fail(Errc::kInvalidArgument, "kv_cache_write: unknown cache format");
  if (p.scale_format != ScaleFormat::kUe8m0 && p.scale_format != ScaleFormat::kF32)
    return fail(Errc::kInvalidArgument, "kv_cache_write: unknown scale format");
  if (p.tokens == 0 || p.rows == 0) return {};
  if (p.latent == nullptr || p.rope == nullptr || p.slots == nullptr || p.cache == nullptr)
    return fail(Errc::kInvalidArgument, "kv_cache_write: a pointer is null");
  const int row_bytes = p.format == KvRows::Format::kBf16 ? kKvRowBytesBf16 : kKvRowBytesFp8;
  if (p.row_stride_bytes < row_bytes)
    return fail(Errc::kInvalidArgument, "kv_cache_write: row_stride_bytes {} < {}",
                p.row_stride_bytes, row_bytes);
  if (p.tokens > 1 && (p.latent_stride < kLatentDim || p.rope_stride < kRopeDim))
    return fail(Errc::kInvalidArgument, "kv_cache_write: a stride is less than a row");
  return {};
}

Result<void> index_key_cache_write_check(const IndexKeyCacheWriteParams& params) {
  const auto& p = params;
  if (p.tokens < 0 || p.page_count < 0)
    return fail(Errc::kInvalidArgument, "index_key_cache_write: {} tokens, {} pages", p.tokens,
                p.page_count);
  if (p.tokens == 0 || p.page_count == 0) return {};
  if (p.values == nullptr || p.scales == nullptr || p.slots == nullptr || p.pages == nullptr)
    return fail(Errc::kInvalidArgument, "index_key_cache_write: a pointer is null");
  if (p.page_stride_bytes < kIndexPageBytes || p.page_stride_bytes % 4 != 0)
    return fail(Errc::kInvalidArgument,
                "index_key_cache_write: page_stride_bytes {} is less than {} or not a multiple "
                "of 4",
                p.page_stride_bytes, kIndexPageBytes);
  return {};
}

Result<void> kv_cache_write_reference(const KvCacheWriteParams& params) {
  DSAPERF_TRY(kv_cache_write_check(params));
  const auto& p = params;
  for (std::int64_t t = 0; t < p.tokens; ++t) {
    if (p.rows == 0 || p.slots[t] < 0 || p.slots[t] >= p.rows) continue;
    const auto* latent = static_cast<const std::uint16_t*>(p.latent) + t * p.latent_stride;
    const auto* rope = static_cast<const std::uint16_t*>(p.rope) + t * p.rope_stride;
    auto* row = static_cast<std::uint8_t*>(p.cache) + p.slots[t] * p.row_stride_bytes;
    if (p.format == KvRows::Format::kBf16) {
      std::memcpy(row, latent, 2 * kLatentDim);
      std::memcpy(row + 2 * kLatentDim, rope, 2 * kRopeDim);
      continue;
    }
    for (int g = 0; g < kKvFp8Scales; ++g) {
      std::array<double, kQuantGroup> group{};
      for (int i = 0; i < kQuantGroup; ++i) group[i] = bf16_to_float(latent[g * kQuantGroup + i]);
      const float scale =
          quantise_group(group.data(), kQuantGroup, p.scale_format, row + g * kQuantGroup);
      std::memcpy(row + kKvFp8ScaleOffset + 4 * g, &scale, sizeof scale);
    }
    std::memcpy(row + kKvFp8RopeOffset, rope, 2 * kRopeDim);
  }
  return {};
}

Result<void> index_key_cache_write_reference(const IndexKeyCacheWriteParams& params) {
  DSAPERF_TRY(index_key_cache_write_check(params));
  const auto& p = params;
  for (std::int64_t t = 0; t < p.tokens; ++t) {
    if (p.page_count == 0 || p.slots[t] < 0 || p.slots[t] >= p.page_count * kPageTokens) continue;
    std::uint8_t* page = p.pages + p.slots[t] / kPageTokens * p.page_stride_bytes;
    const std::int64_t slot = p.slots[t] % kPageTokens;
    std::memcpy(page + slot * kIndexDim, p.values + t * kIndexDim, kIndexDim);
    std::memcpy(page + kIndexPageScaleOffset + 4 * slot, p.scales + t, sizeof(float));
  }
  return {};
}

}  // namespace dsaperf::kernels
