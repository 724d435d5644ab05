#include "dsaperf/kernels/cache_read.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace dsaperf::kernels {
namespace {

void row_to_bf16(const std::uint8_t* row, std::uint16_t* out) {
  std::array<float, kKvFp8Scales> scales{};
  std::memcpy(scales.data(), row + kKvFp8ScaleOffset, sizeof scales);
  for (int d = 0; d < kLatentDim; ++d)
    out[d] = bf16_from_float(e4m3_to_float(row[d]) * scales[d / kQuantGroup]);
  std::memcpy(out + kLatentDim, row + kKvFp8RopeOffset, 2 * kRopeDim);
}

}  // namespace

Result<void> gather_index_keys_check(const GatherIndexKeysParams& params) {
  const auto& p = params;
  if (p.tokens < 0 || p.page_count < 0)
    return fail(Errc::kInvalidArgument, "gather_index_keys: {} tokens, {} pages", p.tokens,
                p.page_count);
  if (p.tokens == 0) return {};
  if (p.pages == nullptr || p.block_table == nullptr || p.values == nullptr || p.scales == nullptr)
    return fail(Errc::kInvalidArgument, "gather_index_keys: a pointer is null");
  if (p.page_stride_bytes < kIndexPageBytes)
    return fail(Errc::kInvalidArgument, "gather_index_keys: page_stride_bytes {} < {}",
                p.page_stride_bytes, kIndexPageBytes);
  return {};
}

Result<void> selection_rows_check(const SelectionRowsParams& params) {
  const auto& p = params;
  if (p.tokens < 0 || p.topk < 1 || p.block_table_stride < 0)
    return fail(Errc::kInvalidArgument, "selection_rows: {} tokens, topk {}, {} table columns",
                p.tokens, p.topk, p.block_table_stride);
  if (p.tokens == 0) return {};
  if (p.positions == nullptr || p.request == nullptr || p.rows == nullptr ||
      (p.block_table == nullptr && p.block_table_stride > 0))
    return fail(Errc::kInvalidArgument, "selection_rows: a pointer is null");
  if (p.tokens > 1 && (p.positions_stride < p.topk || p.rows_stride < p.topk))
    return fail(Errc::kInvalidArgument, "selection_rows: a stride is less than topk {}", p.topk);
  return {};
}

Result<void> rows_to_bf16_check(const RowsToBf16Params& params) {
  const auto& p = params;
  if (p.cache.format != KvRows::Format::kFp8)
    return fail(Errc::kInvalidArgument, "rows_to_bf16: the cache does not hold fp8 rows");
  if (p.page_count < 0 || p.cache.rows < 0)
    return fail(Errc::kInvalidArgument, "rows_to_bf16: {} pages, {} rows", p.page_count,
                p.cache.rows);
  if (p.page_count == 0) return {};
  if (p.pages == nullptr || p.out == nullptr || (p.cache.data == nullptr && p.cache.rows > 0))
    return fail(Errc::kInvalidArgument, "rows_to_bf16: a pointer is null");
  if (p.cache.row_stride_bytes < kKvRowBytesFp8)
    return fail(Errc::kInvalidArgument, "rows_to_bf16: cache.row_stride_bytes {} < {}",
                p.cache.row_stride_bytes, kKvRowBytesFp8);
  return {};
}

Result<void> rows_to_bf16_reference(const RowsToBf16Params& params) {
  DSAPERF_TRY(rows_to_bf16_check(params));
  const auto& p = params;
  for (std::int64_t i = 0; i < p.page_count; ++i) {
    const std::int64_t page = p.pages[i];
    if (page < 0 || page >= p.cache.rows / kPageTokens) continue;
    for (int r = 0; r < kPageTokens; ++r)
      row_to_bf16(static_cast<const std::uint8_t*>(p.cache.data) +
                      (page * kPageTokens + r) * p.cache.row_stride_bytes,
                  static_cast<std::uint16_t*>(p.out) + (i * kPageTokens + r) * kKeyDim);
  }
  return {};
}

Result<void> gather_index_keys_reference(const GatherIndexKeysParams& params) {
  DSAPERF_TRY(gather_index_keys_check(params));
  const auto& p = params;
  for (std::int64_t first = 0; first < p.tokens; first += kPageTokens) {
    const std::int64_t page_number = p.block_table[first / kPageTokens];
    if (page_number < 0 || page_number >= p.page_count)
      return fail(Errc::kInvalidArgument, "gather_index_keys: page {} is not one of {}",
                  page_number, p.page_count);
    const std::uint8_t* page = p.pages + page_number * p.page_stride_bytes;
    const std::int64_t count = std::min<std::int64_t>(kPageTokens, p.tokens - first);
    std::memcpy(p.values + first * kIndexDim, page, count * kIndexDim);
    std::memcpy(p.scales + first, page + kIndexPageScaleOffset, count * sizeof(float));
  }
  return {};
}

Result<void> selection_rows_reference(const SelectionRowsParams& params) {
  DSAPERF_TRY(selection_rows_check(params));
  const auto& p = params;
  for (std::int64_t t = 0; t < p.tokens; ++t)
    if (p.requests > 0 && (p.request[t] < 0 || p.request[t] >= p.requests))
      return fail(Errc::kInvalidArgument, "selection_rows: token {}: request {} is not one of {}",
                  t, p.request[t], p.requests);
  for (std::int64_t t = 0; t < p.tokens; ++t) {
    const std::int32_t* table = p.block_table + p.request[t] * p.block_table_stride;
    for (int i = 0; i < p.topk; ++i) {
      const std::int32_t position = p.positions[t * p.positions_stride + i];
      const std::int32_t page = position / kPageTokens;
      p.rows[t * p.rows_stride + i] = position < 0 || page >= p.block_table_stride
                                          ? -1
                                          : table[page] * kPageTokens + position % kPageTokens;
    }
  }
  return {};
}

}  // namespace dsaperf::kernels
