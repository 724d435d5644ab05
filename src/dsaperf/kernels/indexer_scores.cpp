#include "dsaperf/kernels/indexer_scores.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace dsaperf::kernels {
namespace {

// Scores of one row against one key.
float score(const std::uint8_t* q, const float* weights, int heads, int dim,
            const std::uint8_t* key, float key_scale) {
  double sum = 0;
  for (int h = 0; h < heads; ++h) {
    double dot = 0;
    for (int d = 0; d < dim; ++d)
      dot += static_cast<double>(e4m3_to_float(q[h * dim + d])) * e4m3_to_float(key[d]);
    sum += weights[h] * (dot < 0 ? 0 : dot);
  }
  return static_cast<float>(key_scale * sum);
}

Result<void> check_sizes(const char* name, std::int64_t rows, int heads, int dim) {
  if (rows < 0) return fail(Errc::kInvalidArgument, "{}: {} rows", name, rows);
  if (heads != 8 && heads != 16 && heads != 32 && heads != 64)
    return fail(Errc::kInvalidArgument, "{}: heads {} is not 8, 16, 32 or 64", name, heads);
  if (dim != kIndexDim)
    return fail(Errc::kInvalidArgument, "{}: dim {} is not {}", name, dim, kIndexDim);
  return {};
}

bool known(OutsideScores outside) {
  return outside == OutsideScores::kUntouched || outside == OutsideScores::kMinusInfinity;
}

void fill_outside(float* row, std::int64_t start, std::int64_t end, std::int64_t columns) {
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  if (start >= end) start = end = columns;
  std::fill(row, row + start, kMinusInfinity);
  std::fill(row + end, row + columns, kMinusInfinity);
}

}  // namespace

Result<void> indexer_scores_check(const IndexerScoresParams& params) {
  const auto& p = params;
  DSAPERF_TRY(check_sizes("indexer_scores", p.tokens, p.heads, p.dim));
  if (p.keys < 0) return fail(Errc::kInvalidArgument, "indexer_scores: keys {} < 0", p.keys);
  if (!known(p.outside)) return fail(Errc::kInvalidArgument, "indexer_scores: unknown `outside`");
  if (p.tokens == 0 || p.keys == 0) return {};
  if (p.q == nullptr || p.weights == nullptr || p.k == nullptr || p.k_scales == nullptr ||
      p.start == nullptr || p.end == nullptr || p.scores == nullptr)
    return fail(Errc::kInvalidArgument, "indexer_scores: a pointer is null");
  if (p.tokens > 1 && p.scores_stride < p.keys)
    return fail(Errc::kInvalidArgument, "indexer_scores: scores_stride {} < keys {}",
                p.scores_stride, p.keys);
  return {};
}

Result<void> paged_indexer_scores_check(const PagedIndexerScoresParams& params) {
  const auto& p = params;
  DSAPERF_TRY(check_sizes("paged_indexer_scores", p.batch, p.heads, p.dim));
  if (p.q_len < 1 || p.q_len > 8)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: q_len {} is not 1 ... 8", p.q_len);
  if (p.max_context < 0)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: max_context {} < 0", p.max_context);
  if (!known(p.outside))
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: unknown `outside`");
  if (p.batch == 0 || p.max_context == 0) return {};
  if (p.q == nullptr || p.weights == nullptr || p.pages == nullptr || p.block_table == nullptr ||
      p.context_length == nullptr || p.scores == nullptr)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: a pointer is null");
  if (p.page_stride_bytes < kIndexPageBytes)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: page_stride_bytes {} < {}",
                p.page_stride_bytes, kIndexPageBytes);
  if (p.page_stride_bytes % 4 != 0)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: page_stride_bytes {} % 4 != 0",
                p.page_stride_bytes);
  if (p.scores_stride < p.max_context)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: scores_stride {} < max_context {}",
                p.scores_stride, p.max_context);
  if (p.block_table_stride < 1)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: block_table_stride {} < 1",
                p.block_table_stride);
  return {};
}

Result<void> paged_indexer_scores_check_pages(const PagedIndexerScoresParams& params) {
  const auto& p = params;
  if (p.page_count <= 0 || p.max_context == 0) return {};
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const std::int64_t limit = std::min(p.max_context, p.block_table_stride * kPageTokens);
    const std::int64_t context = std::clamp<std::int64_t>(p.context_length[b], 0, limit);
    for (std::int64_t i = 0; i * kPageTokens < context; ++i) {
      const std::int32_t page = p.block_table[b * p.block_table_stride + i];
      if (page < 0 || page >= p.page_count)
        return fail(Errc::kInvalidArgument,
                    "paged_indexer_scores: request {}: page {} is not one of {}", b, page,
                    p.page_count);
    }
  }
  return {};
}

Result<void> indexer_scores_reference(const IndexerScoresParams& params) {
  DSAPERF_TRY(indexer_scores_check(params));
  const auto& p = params;
  if (p.keys == 0) return {};
  for (std::int64_t t = 0; t < p.tokens; ++t) {
    float* row = p.scores + t * p.scores_stride;
    const std::int64_t start = std::clamp<std::int64_t>(p.start[t], 0, p.keys);
    const std::int64_t end = std::clamp<std::int64_t>(p.end[t], 0, p.keys);
    for (std::int64_t k = start; k < end; ++k)
      row[k] = score(p.q + t * p.heads * p.dim, p.weights + t * p.heads, p.heads, p.dim,
                     p.k + k * p.dim, p.k_scales[k]);
    if (p.outside == OutsideScores::kMinusInfinity) fill_outside(row, start, end, p.keys);
  }
  return {};
}

Result<void> paged_indexer_scores_reference(const PagedIndexerScoresParams& params) {
  DSAPERF_TRY(paged_indexer_scores_check(params));
  DSAPERF_TRY(paged_indexer_scores_check_pages(params));
  const auto& p = params;
  if (p.max_context == 0) return {};
  for (std::int64_t b = 0; b < p.batch; ++b) {
    for (int j = 0; j < p.q_len; ++j) {
      const std::int64_t t = b * p.q_len + j;
      float* row = p.scores + t * p.scores_stride;
      const std::int64_t limit =
          std::min(p.max_context, p.block_table_stride * kPageTokens);  // of the table
      const std::int64_t end = std::clamp<std::int64_t>(
          static_cast<std::int64_t>(p.context_length[b]) - p.q_len + 1 + j, 0, limit);
      for (std::int64_t k = 0; k < end; ++k) {
        const std::int64_t page_number = p.block_table[b * p.block_table_stride + k / kPageTokens];
        const std::uint8_t* page = p.pages + page_number * p.page_stride_bytes;
        const std::int64_t slot = k % kPageTokens;
        float key_scale = 0;
        std::memcpy(&key_scale, page + kIndexPageScaleOffset + 4 * slot, sizeof key_scale);
        row[k] = score(p.q + t * p.heads * p.dim, p.weights + t * p.heads, p.heads, p.dim,
                       page + slot * p.dim, key_scale);
      }
      if (p.outside == OutsideScores::kMinusInfinity) fill_outside(row, 0, end, p.max_context);
    }
  }
  return {};
}

}  // namespace dsaperf::kernels
