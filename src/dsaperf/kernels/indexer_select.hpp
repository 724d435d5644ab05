#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"

#include <cstddef>
#include <cstdint>

struct CUstream_st;

namespace dsaperf::kernels {

// Scores and top-k as one call (stages 9 and 10): the score matrix never exists as a whole. Rows
// are taken in parts whose f32 scores fit the workspace, each part scored and selected from, so
// memory is bounded by what the caller gives, whatever the context; the selection is that of topk
// on all scores. In the scores' parameters `scores`, `scores_stride` and `outside` are unused.
struct IndexerSelectParams {
  IndexerScoresParams scores;
  std::int32_t* indices = nullptr;  // [tokens, topk] as topk writes them: relative to start
  int topk = 0;
  std::int64_t indices_stride = 0;
};

struct PagedIndexerSelectParams {
  PagedIndexerScoresParams scores;
  std::int32_t* indices = nullptr;  // [batch * q_len, topk]: positions in the request
  int topk = 0;
  std::int64_t indices_stride = 0;
};

inline constexpr std::size_t kIndexerSelectWorkspace = std::size_t{512} << 20;

// What these sizes can use, at most `budget` bytes. Fails with kInvalidArgument where the budget is
// less than one row (prefill) or one request (decode) needs.
Result<std::size_t> indexer_select_workspace(const IndexerSelectParams& params,
                                             std::size_t budget = kIndexerSelectWorkspace);
Result<std::size_t> paged_indexer_select_workspace(const PagedIndexerSelectParams& params,
                                                   std::size_t budget = kIndexerSelectWorkspace);

Result<void> indexer_select(const IndexerSelectParams& params, void* workspace,
                            std::size_t workspace_size, CUstream_st* stream);
Result<void> paged_indexer_select(const PagedIndexerSelectParams& params, void* workspace,
                                  std::size_t workspace_size, CUstream_st* stream);

}  // namespace dsaperf::kernels
