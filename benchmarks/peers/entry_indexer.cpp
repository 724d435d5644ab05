// C functions over the indexer's kernels and the projections, as entry.cpp has them over
// attention's.
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/indexer_select.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/topk.hpp"
#include "dsaperf/kernels/variants.hpp"
#include "variant.hpp"

#include <string>

namespace {

thread_local std::string last_error;

int report(const dsaperf::Result<void>& result) {
  if (result) return 0;
  last_error = result.error().message();
  return -1;
}

dsaperf::kernels::IndexerScoresParams prefill(const void* q, const float* weights, const void* k,
                                              const float* k_scales, const int* start,
                                              const int* end, float* scores, long long tokens,
                                              long long keys, int heads) {
  return {.q = static_cast<const std::uint8_t*>(q),
          .weights = weights,
          .k = static_cast<const std::uint8_t*>(k),
          .k_scales = k_scales,
          .start = start,
          .end = end,
          .scores = scores,
          .tokens = tokens,
          .keys = keys,
          .heads = heads,
          .dim = dsaperf::kernels::kIndexDim,
          .scores_stride = keys};
}

dsaperf::kernels::PagedIndexerScoresParams paged(const void* q, const float* weights,
                                                 const void* pages, const int* table,
                                                 const int* lengths, float* scores, long long batch,
                                                 int q_len, int heads, long long context) {
  using namespace dsaperf::kernels;
  return {.q = static_cast<const std::uint8_t*>(q),
          .weights = weights,
          .pages = static_cast<const std::uint8_t*>(pages),
          .block_table = table,
          .context_length = lengths,
          .scores = scores,
          .batch = batch,
          .q_len = q_len,
          .heads = heads,
          .dim = kIndexDim,
          .max_context = context,
          .page_stride_bytes = kIndexPageBytes,
          .block_table_stride = (context + kPageTokens - 1) / kPageTokens,
          .scores_stride = context};
}

}  // namespace

extern "C" {

const char* dsaperf_peers_indexer_error() {
  return last_error.c_str();
}

int dsaperf_peers_scores(const void* q, const float* weights, const void* k, const float* k_scales,
                         const int* start, const int* end, float* scores, long long tokens,
                         long long keys, int heads, CUstream_st* stream) {
  const auto params = prefill(q, weights, k, k_scales, start, end, scores, tokens, keys, heads);
  if (const auto variant = dsaperf::peers::forced_variant())
    return report(dsaperf::kernels::indexer_scores_variant(params, *variant, stream));
  return report(dsaperf::kernels::indexer_scores(params, stream));
}

int dsaperf_peers_paged_scores(const void* q, const float* weights, const void* pages,
                               const int* table, const int* lengths, float* scores, long long batch,
                               int q_len, int heads, long long context, CUstream_st* stream) {
  const auto params =
      paged(q, weights, pages, table, lengths, scores, batch, q_len, heads, context);
  if (const auto variant = dsaperf::peers::forced_variant())
    return report(dsaperf::kernels::paged_indexer_scores_variant(params, *variant, stream));
  return report(dsaperf::kernels::paged_indexer_scores(params, nullptr, 0, stream));
}

// end: one a row, or null for all columns.
int dsaperf_peers_topk(const float* scores, const int* end, int* indices, long long rows,
                       long long columns, int topk, CUstream_st* stream) {
  const dsaperf::kernels::TopkParams params{.scores = scores,
                                            .end = end,
                                            .indices = indices,
                                            .rows = rows,
                                            .columns = columns,
                                            .topk = topk,
                                            .scores_stride = columns,
                                            .indices_stride = topk};
  const auto workspace = dsaperf::peers::workspace();
  if (const auto variant = dsaperf::peers::forced_variant())
    return report(dsaperf::kernels::topk_variant(params, *variant, workspace.data(),
                                                 workspace.size(), stream));
  return report(dsaperf::kernels::topk(params, workspace.data(), workspace.size(), stream));
}

int dsaperf_peers_fp8_gemm(const void* x, const float* x_scales, const void* w,
                           const float* w_scales, void* y, long long m, long long n, long long k,
                           CUstream_st* stream) {
  return report(dsaperf::kernels::fp8_gemm({.x = static_cast<const std::uint8_t*>(x),
                                            .x_scales = x_scales,
                                            .w = static_cast<const std::uint8_t*>(w),
                                            .w_scales = w_scales,
                                            .y = y,
                                            .m = m,
                                            .n = n,
                                            .k = k,
                                            .x_stride = k,
                                            .x_scales_stride = (k + 127) / 128,
                                            .w_stride = k,
                                            .w_scales_stride = (k + 127) / 128,
                                            .y_stride = n},
                                           stream));
}

int dsaperf_peers_select(const void* q, const float* weights, const void* k, const float* k_scales,
                         const int* start, const int* end, int* indices, void* workspace,
                         long long tokens, long long keys, int heads, int topk,
                         long long workspace_size, CUstream_st* stream) {
  return report(dsaperf::kernels::indexer_select(
      {.scores = prefill(q, weights, k, k_scales, start, end, nullptr, tokens, keys, heads),
       .indices = indices,
       .topk = topk,
       .indices_stride = topk},
      workspace, static_cast<std::size_t>(workspace_size), stream));
}

int dsaperf_peers_paged_select(const void* q, const float* weights, const void* pages,
                               const int* table, const int* lengths, int* indices, void* workspace,
                               long long batch, int q_len, int heads, long long context, int topk,
                               long long workspace_size, CUstream_st* stream) {
  const dsaperf::kernels::PagedIndexerSelectParams params{
      .scores = paged(q, weights, pages, table, lengths, nullptr, batch, q_len, heads, context),
      .indices = indices,
      .topk = topk,
      .indices_stride = topk};
  const auto size = static_cast<std::size_t>(workspace_size);
  if (const auto variant = dsaperf::peers::forced_variant())
    return report(
        dsaperf::kernels::paged_indexer_select_variant(params, *variant, workspace, size, stream));
  return report(dsaperf::kernels::paged_indexer_select(params, workspace, size, stream));
}

}  // extern "C"
