#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Indexer scores: s[t, p] = scale_k[p] * sum_h w[t, h] * relu(q[t, h] . k[p]), e4m3 inputs, exact
// products, f32 sums. relu keeps NaN (it is (x + |x|) / 2 on the device), so a NaN in q, k, w or a
// scale shows in its scores. w already carries the query scale, heads^-0.5 and dim^-0.5 (stage 7).
// Pointers are device pointers for the GPU entry points, host pointers for the references; strides
// in elements. The GPU needs q, weights, k, k_scales, pages and page_stride_bytes to be multiples
// of 16 bytes. A score's bits depend on its row and its key alone, not on the batch or the tile.

// What happens to scores outside a row's [start, end).
enum class OutsideScores { kUntouched, kMinusInfinity };

// Contiguous keys (prefill). Row t sees keys [start[t], end[t]), so ragged batches and causal
// limits are both expressed by the two arrays.
struct IndexerScoresParams {
  const std::uint8_t* q = nullptr;      // [tokens, heads, dim] e4m3
  const float* weights = nullptr;       // [tokens, heads]
  const std::uint8_t* k = nullptr;      // [keys, dim] e4m3
  const float* k_scales = nullptr;      // [keys]; any positive f32
  const std::int32_t* start = nullptr;  // [tokens]
  const std::int32_t* end = nullptr;    // [tokens]; end <= start: the row sees nothing
  float* scores = nullptr;              // [tokens, keys]
  std::int64_t tokens = 0;
  std::int64_t keys = 0;
  int heads = 0;                   // 8, 16, 32 or 64
  int dim = 0;                     // 128
  std::int64_t scores_stride = 0;  // elements between rows; >= keys
  OutsideScores outside = OutsideScores::kUntouched;
};

// Paged keys (decode). A page holds 64 tokens: 64 x 128 e4m3, then 64 f32 scales, 8448 bytes.
// Row (b, j) of q_len rows sees positions [0, context_length[b] - q_len + 1 + j).
struct PagedIndexerScoresParams {
  const std::uint8_t* q = nullptr;            // [batch, q_len, heads, dim] e4m3
  const float* weights = nullptr;             // [batch, q_len, heads]
  const std::uint8_t* pages = nullptr;        // [page_count, page_stride_bytes]
  const std::int32_t* block_table = nullptr;  // [batch, block_table_stride]: page numbers
  const std::int32_t* context_length =
      nullptr;              // [batch]: tokens in the cache, the new ones included
  float* scores = nullptr;  // [batch * q_len, max_context]
  std::int64_t batch = 0;
  int q_len = 1;  // 1 ... 8
  int heads = 0;
  int dim = 0;
  std::int64_t max_context = 0;        // columns of scores that may be written
  std::int64_t page_stride_bytes = 0;  // 8448 when packed
  std::int64_t block_table_stride = 0;
  std::int64_t scores_stride = 0;
  OutsideScores outside = OutsideScores::kUntouched;
  // 0: not known; else references refuse a page number outside [0, page_count).
  std::int64_t page_count = 0;
};

// Refuse sizes, strides and null pointers that contradict each other or the limits above. Values of
// start, end, block_table and context_length are not looked at: ranges are clamped to [0, keys) or
// [0, max_context), as the device must.
Result<void> indexer_scores_check(const IndexerScoresParams& params);
Result<void> paged_indexer_scores_check(const PagedIndexerScoresParams& params);
// Of host pointers, where page_count is known: every page number that is read is one of them.
Result<void> paged_indexer_scores_check_pages(const PagedIndexerScoresParams& params);

Result<void> indexer_scores(const IndexerScoresParams& params, CUstream_st* stream);

Result<std::size_t> paged_indexer_scores_workspace(const PagedIndexerScoresParams& params,
                                                   int sm_count);
Result<void> paged_indexer_scores(const PagedIndexerScoresParams& params, void* workspace,
                                  std::size_t workspace_size, CUstream_st* stream);

// Double precision on host pointers, loops, no cleverness; scores are rounded to f32 once.
Result<void> indexer_scores_reference(const IndexerScoresParams& params);
Result<void> paged_indexer_scores_reference(const PagedIndexerScoresParams& params);

}  // namespace dsaperf::kernels
