#include "dsaperf/kernels/indexer_select.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/topk.hpp"

#include <algorithm>

namespace dsaperf::kernels {
namespace {

// Rows of scores begin at whole sectors of 32 bytes.
std::int64_t padded_columns(std::int64_t columns) {
  return (columns + 7) / 8 * 8;
}

// How many of `count` units of `rows_of_unit` rows fit at a time. Whole groups of query rows where
// there is room for one, as the score kernel loads them together.
Result<std::int64_t> units_at_once(std::int64_t count, std::int64_t rows_of_unit,
                                   std::int64_t columns, std::int64_t group, std::size_t budget) {
  const std::int64_t unit = rows_of_unit * padded_columns(columns) * std::int64_t{sizeof(float)};
  const std::int64_t fit = unit == 0 ? count : static_cast<std::int64_t>(budget) / unit;
  if (fit == 0 && count > 0)
    return fail(Errc::kInvalidArgument, "indexer_select: {} bytes of workspace, {} needed at least",
                budget, unit);
  return std::min(count, fit >= group ? fit / group * group : fit);
}

Result<std::int64_t> tokens_at_once(const IndexerSelectParams& p, std::size_t budget) {
  constexpr std::int64_t kColumnsOfGroup = 512;  // query rows x heads
  const std::int64_t group = p.scores.heads > 0 ? kColumnsOfGroup / p.scores.heads : 1;
  return units_at_once(p.scores.tokens, 1, p.scores.keys, group, budget);
}

Result<std::int64_t> requests_at_once(const PagedIndexerSelectParams& p, std::size_t budget) {
  return units_at_once(p.scores.batch, p.scores.q_len, p.scores.max_context, 1, budget);
}

}  // namespace

Result<std::size_t> indexer_select_workspace(const IndexerSelectParams& params,
                                             std::size_t budget) {
  DSAPERF_TRY_ASSIGN(const std::int64_t tokens, tokens_at_once(params, budget));
  return static_cast<std::size_t>(tokens * padded_columns(params.scores.keys)) * sizeof(float);
}

Result<std::size_t> paged_indexer_select_workspace(const PagedIndexerSelectParams& params,
                                                   std::size_t budget) {
  DSAPERF_TRY_ASSIGN(const std::int64_t requests, requests_at_once(params, budget));
  return static_cast<std::size_t>(requests * params.scores.q_len *
                                  padded_columns(params.scores.max_context)) *
         sizeof(float);
}

Result<void> indexer_select(const IndexerSelectParams& params, void* workspace,
                            std::size_t workspace_size, CUstream_st* stream) {
  const auto& p = params.scores;
  DSAPERF_TRY_ASSIGN(const std::int64_t at_once, tokens_at_once(params, workspace_size));
  for (std::int64_t first = 0; first < p.tokens; first += at_once) {
    auto part = p;
    part.tokens = std::min(at_once, p.tokens - first);
    part.q = p.q + first * p.heads * p.dim;
    part.weights = p.weights + first * p.heads;
    part.start = p.start + first;
    part.end = p.end + first;
    part.scores = static_cast<float*>(workspace);
    part.scores_stride = padded_columns(p.keys);
    part.outside = OutsideScores::kUntouched;
    DSAPERF_TRY(indexer_scores(part, stream));
    DSAPERF_TRY(topk({.scores = part.scores,
                      .start = part.start,
                      .end = part.end,
                      .indices = params.indices + first * params.indices_stride,
                      .rows = part.tokens,
                      .columns = part.keys,
                      .topk = params.topk,
                      .scores_stride = part.scores_stride,
                      .indices_stride = params.indices_stride},
                     nullptr, 0, stream));
  }
  return {};
}

Result<void> paged_indexer_select(const PagedIndexerSelectParams& params, void* workspace,
                                  std::size_t workspace_size, CUstream_st* stream) {
  const auto& p = params.scores;
  DSAPERF_TRY_ASSIGN(const std::int64_t at_once, requests_at_once(params, workspace_size));
  for (std::int64_t first = 0; first < p.batch; first += at_once) {
    auto part = p;
    part.batch = std::min(at_once, p.batch - first);
    part.q = p.q + first * p.q_len * p.heads * p.dim;
    part.weights = p.weights + first * p.q_len * p.heads;
    part.block_table = p.block_table + first * p.block_table_stride;
    part.context_length = p.context_length + first;
    part.scores = static_cast<float*>(workspace);
    part.scores_stride = padded_columns(p.max_context);
    part.outside = OutsideScores::kUntouched;
    DSAPERF_TRY(paged_indexer_scores(part, nullptr, 0, stream));
    DSAPERF_TRY(topk({.scores = part.scores,
                      .end = part.context_length,
                      .indices = params.indices + first * p.q_len * params.indices_stride,
                      .rows = part.batch * p.q_len,
                      .columns = p.max_context,
                      .topk = params.topk,
                      .scores_stride = part.scores_stride,
                      .indices_stride = params.indices_stride,
                      .rows_per_end = p.q_len},
                     nullptr, 0, stream));
  }
  return {};
}

}  // namespace dsaperf::kernels
