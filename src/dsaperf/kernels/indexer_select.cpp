#include "dsaperf/kernels/indexer_select.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/arguments.hpp"
#include "dsaperf/kernels/sm90/indexer_select/launch.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"
#include "dsaperf/kernels/topk.hpp"
#include "dsaperf/kernels/variants.hpp"

#include <algorithm>
#include <cstddef>

namespace dsaperf::kernels {
namespace {

// Rows of scores begin at whole sectors of 32 bytes.
std::int64_t padded_columns(std::int64_t columns) {
  return ceil_div(columns, 8) * 8;
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

// Requests [first, first + count) of a call.
PagedIndexerScoresParams part_of(const PagedIndexerScoresParams& p, std::int64_t first,
                                 std::int64_t count) {
  auto part = p;
  part.batch = count;
  part.q = p.q + first * p.q_len * p.heads * p.dim;
  part.weights = p.weights + first * p.q_len * p.heads;
  part.block_table = p.block_table + first * p.block_table_stride;
  part.context_length = p.context_length + first;
  part.outside = OutsideScores::kUntouched;
  return part;
}

// Top-k of the scores of a part, which stand at part.scores.
TopkParams topk_of(const PagedIndexerSelectParams& params, const PagedIndexerScoresParams& part,
                   std::int64_t first) {
  return {.scores = part.scores,
          .end = part.context_length,
          .indices = params.indices + first * part.q_len * params.indices_stride,
          .rows = part.batch * part.q_len,
          .columns = part.max_context,
          .topk = params.topk,
          .scores_stride = part.scores_stride,
          .indices_stride = params.indices_stride,
          .rows_per_end = part.q_len};
}

// Top-k of scores at the workspace's begin, with what stands behind them.
Result<void> topk_behind_scores(const TopkParams& params, void* workspace,
                                std::size_t workspace_size, CUstream_st* stream) {
  const auto scores = static_cast<std::size_t>(params.rows * params.scores_stride) * sizeof(float);
  return topk(params, static_cast<std::byte*>(workspace) + scores, workspace_size - scores, stream);
}

// Bytes of the scores of so many rows, and what top-k wants behind them where the budget allows it.
Result<std::size_t> scores_and_topk_bytes(std::int64_t rows, std::int64_t columns, int topk,
                                          std::size_t budget) {
  const std::size_t scores =
      static_cast<std::size_t>(rows * padded_columns(columns)) * sizeof(float);
  const TopkParams params{.rows = rows, .columns = columns, .topk = topk};
  DSAPERF_TRY_ASSIGN(const Variant variant, tuned_variant(topk_shape(params)));
  const std::size_t both = scores + topk_variant_workspace(params, variant);
  return both <= budget ? both : scores;
}

Result<void> select_by_two_kernels(const PagedIndexerSelectParams& params, void* workspace,
                                   std::size_t workspace_size, CUstream_st* stream) {
  const auto& p = params.scores;
  DSAPERF_TRY_ASSIGN(const std::int64_t at_once, requests_at_once(params, workspace_size));
  for (std::int64_t first = 0; first < p.batch; first += at_once) {
    auto part = part_of(p, first, std::min(at_once, p.batch - first));
    part.scores = static_cast<float*>(workspace);
    part.scores_stride = padded_columns(p.max_context);
    DSAPERF_TRY(paged_indexer_scores(part, nullptr, 0, stream));
    DSAPERF_TRY(
        topk_behind_scores(topk_of(params, part, first), workspace, workspace_size, stream));
  }
  return {};
}

// The workspace of kFused: the list of each segment, then how long they are.
std::size_t kept_bytes(std::int64_t requests, int sm_count) {
  constexpr std::size_t kSegment =
      sm90::kMostKept * sizeof(sm90::KeptElement) + sizeof(sm90::KeptSummary);
  return static_cast<std::size_t>(requests + sm_count) * kSegment;
}

Result<std::int64_t> requests_kept_at_once(const PagedIndexerSelectParams& params, int sm_count,
                                           std::size_t budget) {
  const std::size_t least = kept_bytes(1, sm_count);
  if (params.scores.batch > 0 && budget < least)
    return fail(Errc::kInvalidArgument,
                "paged_indexer_select: {} bytes of workspace, {} needed at least by variant {}",
                budget, least, name(Variant::kFused));
  const std::size_t of_request = least - kept_bytes(0, sm_count);
  const std::size_t fit = 1 + (budget - std::min(budget, least)) / of_request;
  return std::min(params.scores.batch, static_cast<std::int64_t>(fit));
}

// Elements that a segment may leave, so that those of a request are selected from in shared memory
// where its segments are as many as those of the others.
int most_of_segment(std::int64_t requests, int ctas) {
  const std::int64_t segments = ceil_div(ctas, requests) + 1;
  return static_cast<int>(std::min<std::int64_t>(sm90::kSelectListed / segments, sm90::kMostKept));
}

constexpr int kBoxColumns = 64;  // of q, where a request has one new token

// Of a part, what may be selected in place of its scores, then the selection from it.
Result<void> select_kept(const PagedIndexerSelectParams& params,
                         const PagedIndexerScoresParams& part, const TopkParams& selection,
                         int ctas, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(auto arguments, sm90::paged_scores_arguments(part, kBoxColumns));
  auto* elements = reinterpret_cast<sm90::KeptElement*>(part.scores);
  arguments.kept = {.elements = elements,
                    .summaries = reinterpret_cast<sm90::KeptSummary*>(
                        elements + (part.batch + ctas) * sm90::kMostKept),
                    .topk = params.topk,
                    .most = most_of_segment(part.batch, ctas)};
  DSAPERF_CUDA_TRY(part.heads == 32 ? sm90::launch_kept_scores<32>(arguments, ctas, stream)
                                    : sm90::launch_kept_scores<64>(arguments, ctas, stream));
  const std::int64_t window = (std::int64_t{arguments.keys} + 127) / 128 * 128;
  DSAPERF_CUDA_TRY(sm90::launch_select_kept(
      {.kept = arguments.kept,
       .context_length = part.context_length,
       .indices = selection.indices,
       .indices_stride = params.indices_stride,
       .requests = arguments.groups,
       .keys = arguments.keys,
       .ctas = ctas,
       .window =
           static_cast<std::int32_t>(std::min<std::int64_t>(window, sm90::kSelectKeptMostWindow))},
      stream));
  return {};
}

Result<void> select_in_one_pass(const PagedIndexerSelectParams& params, void* workspace,
                                std::size_t workspace_size, CUstream_st* stream) {
  const auto& p = params.scores;
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  if (sm_count > sm90::kMostScoringCtas || params.topk > sm90::kMostKept)
    return fail(Errc::kUnsupported, "paged_indexer_select: variant {} of {} SMs, topk {}",
                name(Variant::kFused), sm_count, params.topk);
  DSAPERF_TRY_ASSIGN(const std::int64_t at_once,
                     requests_kept_at_once(params, sm_count, workspace_size));
  for (std::int64_t first = 0; first < p.batch; first += at_once) {
    auto part = part_of(p, first, std::min(at_once, p.batch - first));
    part.scores = static_cast<float*>(workspace);  // not written: what the checks want
    part.scores_stride = padded_columns(p.max_context);
    const TopkParams selection = topk_of(params, part, first);
    DSAPERF_TRY(topk_check(selection));
    DSAPERF_TRY(select_kept(params, part, selection, sm_count, stream));
  }
  return {};
}

}  // namespace

Result<std::size_t> indexer_select_workspace(const IndexerSelectParams& params,
                                             std::size_t budget) {
  DSAPERF_TRY_ASSIGN(const std::int64_t tokens, tokens_at_once(params, budget));
  return scores_and_topk_bytes(tokens, params.scores.keys, params.topk, budget);
}

Result<std::size_t> paged_indexer_select_workspace(const PagedIndexerSelectParams& params,
                                                   std::size_t budget) {
  DSAPERF_TRY_ASSIGN(const Variant variant, tuned_variant(paged_indexer_select_shape(params)));
  const auto size = paged_indexer_select_variant_workspace(params, variant, budget);
  // A budget too small for what the table names may do for the default.
  return size || variant == Variant::kDefault
             ? size
             : paged_indexer_select_variant_workspace(params, Variant::kDefault, budget);
}

Result<std::size_t> paged_indexer_select_variant_workspace(const PagedIndexerSelectParams& params,
                                                           Variant variant, std::size_t budget) {
  const auto& p = params.scores;
  if (variant != Variant::kDefault) {
    DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
    DSAPERF_TRY_ASSIGN(const std::int64_t requests,
                       requests_kept_at_once(params, sm_count, budget));
    return kept_bytes(requests, sm_count);
  }
  DSAPERF_TRY_ASSIGN(const std::int64_t requests, requests_at_once(params, budget));
  return scores_and_topk_bytes(requests * p.q_len, p.max_context, params.topk, budget);
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
    DSAPERF_TRY(topk_behind_scores({.scores = part.scores,
                                    .start = part.start,
                                    .end = part.end,
                                    .indices = params.indices + first * params.indices_stride,
                                    .rows = part.tokens,
                                    .columns = part.keys,
                                    .topk = params.topk,
                                    .scores_stride = part.scores_stride,
                                    .indices_stride = params.indices_stride},
                                   workspace, workspace_size, stream));
  }
  return {};
}

TunedShape paged_indexer_select_shape(const PagedIndexerSelectParams& params) {
  return {.kernel = TunedKernel::kPagedSelect,
          .heads = params.scores.heads,
          .q_len = params.scores.q_len,
          .rows = params.scores.batch,
          .columns = params.scores.max_context};
}

Result<void> paged_indexer_select(const PagedIndexerSelectParams& params, void* workspace,
                                  std::size_t workspace_size, CUstream_st* stream) {
  DSAPERF_TRY_ASSIGN(Variant variant, tuned_variant(paged_indexer_select_shape(params)));
  if (!paged_indexer_select_variant_workspace(params, variant, workspace_size))
    variant = Variant::kDefault;
  return paged_indexer_select_variant(params, variant, workspace, workspace_size, stream);
}

Result<void> paged_indexer_select_variant(const PagedIndexerSelectParams& params, Variant variant,
                                          void* workspace, std::size_t workspace_size,
                                          CUstream_st* stream) {
  if (variant == Variant::kDefault)
    return select_by_two_kernels(params, workspace, workspace_size, stream);
  const auto possible = variants_of(paged_indexer_select_shape(params), 1);
  if (std::ranges::find(possible, variant) == possible.end())
    return fail(Errc::kUnsupported,
                "paged_indexer_select: variant {} cannot run {} heads, q_len "
                "{}, {} requests",
                name(variant), params.scores.heads, params.scores.q_len, params.scores.batch);
  if (params.scores.max_context == 0)  // nothing is scored
    return select_by_two_kernels(params, workspace, workspace_size, stream);
  return select_in_one_pass(params, workspace, workspace_size, stream);
}

}  // namespace dsaperf::kernels
