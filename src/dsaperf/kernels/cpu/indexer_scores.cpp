#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/cpu/parallel.hpp"
#include "dsaperf/kernels/cpu/sgemm.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <vector>

namespace dsaperf::kernels::cpu {
namespace {

// Products of a task: 64 heads x 1024 keys = 256 KiB, so they stay in the second-level cache
// between the product and the sum over heads.
constexpr std::int64_t kKeysPerTask = 1024;

void widen(const std::uint8_t* values, std::int64_t count, float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = e4m3_to_float(values[i]);
}

struct Keys {
  std::vector<float> values;  // [keys, 128]
  std::vector<float> scales;  // [keys]
};

// Scores of one row against keys [begin, end).
void score_row(const float* q, const float* weights, int heads, const Keys& keys,
               std::int64_t begin, std::int64_t end, float* scores) {
  std::vector<float> products(heads * kKeysPerTask);
  for (std::int64_t first = begin; first < end; first += kKeysPerTask) {
    const std::int64_t count = std::min(kKeysPerTask, end - first);
    multiply_by_rows(heads, count, kIndexDim, q, kIndexDim, &keys.values[first * kIndexDim],
                     kIndexDim, products.data(), count);
    std::fill(scores + first, scores + first + count, 0.0F);
    for (int h = 0; h < heads; ++h) {
      const float* row = &products[h * count];
      for (std::int64_t k = 0; k < count; ++k)
        scores[first + k] += weights[h] * (row[k] < 0 ? 0 : row[k]);  // keeps NaN
    }
    for (std::int64_t k = first; k < first + count; ++k) scores[k] *= keys.scales[k];
  }
}

void fill_outside(float* row, std::int64_t start, std::int64_t end, std::int64_t columns) {
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  if (start >= end) start = end = columns;
  std::fill(row, row + start, kMinusInfinity);
  std::fill(row + end, row + columns, kMinusInfinity);
}

}  // namespace

Result<void> indexer_scores(const IndexerScoresParams& params, int threads) {
  DSAPERF_TRY(indexer_scores_check(params));
  DSAPERF_TRY(open_blas());
  const auto& p = params;
  if (p.keys == 0 || p.tokens == 0) return {};
  Keys keys{std::vector<float>(p.keys * kIndexDim), {p.k_scales, p.k_scales + p.keys}};
  parallel_ranges(p.keys, kKeysPerTask, threads, [&](std::int64_t begin, std::int64_t end) {
    widen(p.k + begin * kIndexDim, (end - begin) * kIndexDim, &keys.values[begin * kIndexDim]);
  });
  parallel_for(p.tokens, threads, [&](std::int64_t t) {
    const std::int64_t start = std::clamp<std::int64_t>(p.start[t], 0, p.keys);
    const std::int64_t end = std::clamp<std::int64_t>(p.end[t], 0, p.keys);
    std::vector<float> q(p.heads * kIndexDim);
    widen(p.q + t * p.heads * kIndexDim, p.heads * kIndexDim, q.data());
    float* row = p.scores + t * p.scores_stride;
    score_row(q.data(), p.weights + t * p.heads, p.heads, keys, start, end, row);
    if (p.outside == OutsideScores::kMinusInfinity) fill_outside(row, start, end, p.keys);
  });
  return {};
}

Result<void> paged_indexer_scores(const PagedIndexerScoresParams& params, int threads) {
  DSAPERF_TRY(paged_indexer_scores_check(params));
  DSAPERF_TRY(paged_indexer_scores_check_pages(params));
  DSAPERF_TRY(open_blas());
  const auto& p = params;
  if (p.max_context == 0) return {};
  parallel_for(p.batch, threads, [&](std::int64_t b) {
    const std::int64_t limit = std::min(p.max_context, p.block_table_stride * kPageTokens);
    const std::int64_t context = std::clamp<std::int64_t>(p.context_length[b], 0, limit);
    Keys keys{std::vector<float>(context * kIndexDim), std::vector<float>(context)};
    for (std::int64_t first = 0; first < context; first += kPageTokens) {
      const std::int64_t page_number =
          p.block_table[b * p.block_table_stride + first / kPageTokens];
      const std::uint8_t* page = p.pages + page_number * p.page_stride_bytes;
      const std::int64_t count = std::min<std::int64_t>(kPageTokens, context - first);
      widen(page, count * kIndexDim, &keys.values[first * kIndexDim]);
      std::memcpy(&keys.scales[first], page + kIndexPageScaleOffset, 4 * count);
    }
    for (int j = 0; j < p.q_len; ++j) {
      const std::int64_t t = b * p.q_len + j;
      const std::int64_t end = std::clamp<std::int64_t>(
          static_cast<std::int64_t>(p.context_length[b]) - p.q_len + 1 + j, 0, context);
      std::vector<float> q(p.heads * kIndexDim);
      widen(p.q + t * p.heads * kIndexDim, p.heads * kIndexDim, q.data());
      float* row = p.scores + t * p.scores_stride;
      score_row(q.data(), p.weights + t * p.heads, p.heads, keys, 0, end, row);
      if (p.outside == OutsideScores::kMinusInfinity) fill_outside(row, 0, end, p.max_context);
    }
  });
  return {};
}

}  // namespace dsaperf::kernels::cpu
