#include "dsaperf/capi/execution.hpp"
#include "dsaperf/capi/gpu_stages.hpp"
#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/norm.hpp"

// The stages of the C interface: each C struct becomes the parameters of kernels/, after its sizes
// were found sane. The kernels check the rest.
namespace dsaperf::capi {
namespace {

using kernels::kIndexDim;

std::int64_t groups(std::int64_t size) {
  return (size + kernels::kQuantGroup - 1) / kernels::kQuantGroup;
}

// Stages without a quicker path of their own on the host run the reference on one thread.
template <typename Reference>
auto on_one_thread(const Reference& reference) {
  return [&reference](const auto& params, int) { return reference(params); };
}

Result<kernels::GemmParams> gemm(const dsaperf_gemm_params& p) {
  DSAPERF_TRY(check_extents("gemm", {{p.m, p.x_stride},
                                     {p.m, p.y_stride},
                                     {p.n, p.w_stride},
                                     {p.k, p.w_stride},
                                     {p.batch, p.batch > 1 ? p.x_batch_stride : 0},
                                     {p.batch, p.batch > 1 ? p.w_batch_stride : 0},
                                     {p.batch, p.batch > 1 ? p.y_batch_stride : 0}}));
  DSAPERF_TRY_ASSIGN(const auto layout,
                     enumerator<kernels::WeightLayout>(p.w_layout, 2, "w_layout"));
  DSAPERF_TRY_ASSIGN(const auto output, enumerator<kernels::GemmOutput>(p.output, 2, "output"));
  return kernels::GemmParams{.x = p.x,
                             .w = p.w,
                             .y = p.y,
                             .m = p.m,
                             .n = p.n,
                             .k = p.k,
                             .batch = p.batch,
                             .x_stride = p.x_stride,
                             .w_stride = p.w_stride,
                             .y_stride = p.y_stride,
                             .x_batch_stride = p.x_batch_stride,
                             .w_batch_stride = p.w_batch_stride,
                             .y_batch_stride = p.y_batch_stride,
                             .w_layout = layout,
                             .output = output};
}

Result<kernels::Fp8GemmParams> fp8_gemm(const dsaperf_fp8_gemm_params& p) {
  DSAPERF_TRY(check_extents("fp8_gemm", {{p.m, p.x_stride},
                                         {p.m, p.x_scales_stride},
                                         {p.m, p.y_stride},
                                         {p.n, p.w_stride},
                                         {p.n, p.w_scales_stride},
                                         {p.k}}));
  return kernels::Fp8GemmParams{.x = p.x,
                                .x_scales = p.x_scales,
                                .w = p.w,
                                .w_scales = p.w_scales,
                                .y = p.y,
                                .m = p.m,
                                .n = p.n,
                                .k = p.k,
                                .x_stride = p.x_stride,
                                .x_scales_stride = p.x_scales_stride,
                                .w_stride = p.w_stride,
                                .w_scales_stride = p.w_scales_stride,
                                .y_stride = p.y_stride};
}

Result<kernels::QuantiseGroupsParams> quantise_groups(const dsaperf_quantise_groups_params& p) {
  DSAPERF_TRY(check_extents("quantise_groups", {{p.rows, p.x_stride},
                                                {p.rows, p.values_stride},
                                                {p.rows, p.scales_stride},
                                                {groups(p.dim)}}));
  DSAPERF_TRY_ASSIGN(const auto format,
                     enumerator<kernels::ScaleFormat>(p.scale_format, 2, "scale_format"));
  return kernels::QuantiseGroupsParams{.x = p.x,
                                       .values = p.values,
                                       .scales = p.scales,
                                       .rows = p.rows,
                                       .dim = p.dim,
                                       .x_stride = p.x_stride,
                                       .values_stride = p.values_stride,
                                       .scales_stride = p.scales_stride,
                                       .scale_format = format};
}

Result<kernels::LayerNormParams> norm(const dsaperf_norm_params& p) {
  DSAPERF_TRY(check_extents("norm", {{p.rows, p.x_stride}, {p.rows, p.out_stride}}));
  return kernels::LayerNormParams{.x = p.x,
                                  .weight = p.weight,
                                  .bias = p.bias,
                                  .out = p.out,
                                  .rows = p.rows,
                                  .dim = p.dim,
                                  .x_stride = p.x_stride,
                                  .out_stride = p.out_stride,
                                  .eps = p.eps};
}

kernels::RmsNormParams without_bias(const kernels::LayerNormParams& p) {
  return {.x = p.x,
          .weight = p.weight,
          .out = p.out,
          .rows = p.rows,
          .dim = p.dim,
          .x_stride = p.x_stride,
          .out_stride = p.out_stride,
          .eps = p.eps};
}

// Both norms: without a bias it is RMSNorm.
Result<void> either_norm(const kernels::LayerNormParams& p) {
  return p.bias != nullptr ? kernels::layer_norm_reference(p)
                           : kernels::rms_norm_reference(without_bias(p));
}

Result<void> either_norm_on_gpu(const kernels::LayerNormParams& p, CUstream_st* stream) {
  if constexpr (kHasGpuPart) {
    return p.bias != nullptr ? kernels::layer_norm(p, stream)
                             : kernels::rms_norm(without_bias(p), stream);
  }
  return no_gpu_part();
}

Result<kernels::RopeParams> rope(const dsaperf_rope_params& p) {
  DSAPERF_TRY(check_extents(
      "rope", {{p.tokens, p.token_stride}, {p.heads, p.head_stride}, {p.table_rows, p.dim}}));
  DSAPERF_TRY_ASSIGN(const auto pairs, enumerator<kernels::RopePairs>(p.pairs, 2, "pairs"));
  return kernels::RopeParams{.x = p.x,
                             .cos_sin = p.cos_sin,
                             .positions = p.positions,
                             .tokens = p.tokens,
                             .table_rows = p.table_rows,
                             .heads = p.heads,
                             .dim = p.dim,
                             .token_stride = p.token_stride,
                             .head_stride = p.head_stride,
                             .pairs = pairs};
}

Result<kernels::IndexerQuantiseParams> indexer_quantise(const dsaperf_indexer_quantise_params& p) {
  DSAPERF_TRY(check_extents("indexer_quantise", {{p.rows, p.x_stride}}));
  DSAPERF_TRY_ASSIGN(const auto format,
                     enumerator<kernels::ScaleFormat>(p.scale_format, 2, "scale_format"));
  return kernels::IndexerQuantiseParams{.x = p.x,
                                        .values = p.values,
                                        .scales = p.scales,
                                        .weights = p.weights,
                                        .weights_out = p.weights_out,
                                        .rows = p.rows,
                                        .x_stride = p.x_stride,
                                        .weight_factor = p.weight_factor,
                                        .scale_format = format};
}

Result<kernels::KvCacheWriteParams> kv_cache_write(const dsaperf_kv_cache_write_params& p) {
  DSAPERF_TRY(check_extents(
      "kv_cache_write",
      {{p.tokens, p.latent_stride}, {p.tokens, p.rope_stride}, {p.rows, p.row_stride_bytes}}));
  DSAPERF_TRY_ASSIGN(const auto format, enumerator<kernels::KvRows::Format>(p.format, 2, "format"));
  DSAPERF_TRY_ASSIGN(const auto scales,
                     enumerator<kernels::ScaleFormat>(p.scale_format, 2, "scale_format"));
  return kernels::KvCacheWriteParams{.latent = p.latent,
                                     .rope = p.rope,
                                     .slots = p.slots,
                                     .cache = p.cache,
                                     .tokens = p.tokens,
                                     .rows = p.rows,
                                     .latent_stride = p.latent_stride,
                                     .rope_stride = p.rope_stride,
                                     .row_stride_bytes = p.row_stride_bytes,
                                     .format = format,
                                     .scale_format = scales};
}

Result<kernels::IndexKeyCacheWriteParams> index_key_cache_write(
    const dsaperf_index_key_cache_write_params& p) {
  DSAPERF_TRY(check_extents("index_key_cache_write",
                            {{p.tokens, kIndexDim}, {p.page_count, p.page_stride_bytes}}));
  return kernels::IndexKeyCacheWriteParams{.values = p.values,
                                           .scales = p.scales,
                                           .slots = p.slots,
                                           .pages = p.pages,
                                           .tokens = p.tokens,
                                           .page_count = p.page_count,
                                           .page_stride_bytes = p.page_stride_bytes};
}

Result<kernels::GatherIndexKeysParams> gather_index_keys(
    const dsaperf_gather_index_keys_params& p) {
  DSAPERF_TRY(check_extents("gather_index_keys",
                            {{p.tokens, kIndexDim}, {p.page_count, p.page_stride_bytes}}));
  return kernels::GatherIndexKeysParams{.pages = p.pages,
                                        .block_table = p.block_table,
                                        .values = p.values,
                                        .scales = p.scales,
                                        .tokens = p.tokens,
                                        .page_count = p.page_count,
                                        .page_stride_bytes = p.page_stride_bytes};
}

Result<kernels::IndexerScoresParams> indexer_scores(const dsaperf_indexer_scores_params& p) {
  DSAPERF_TRY(check_extents("indexer_scores",
                            {{p.tokens, p.scores_stride}, {p.keys, kIndexDim}, {p.heads}}));
  DSAPERF_TRY_ASSIGN(const auto outside,
                     enumerator<kernels::OutsideScores>(p.outside, 2, "outside"));
  return kernels::IndexerScoresParams{.q = p.q,
                                      .weights = p.weights,
                                      .k = p.k,
                                      .k_scales = p.k_scales,
                                      .start = p.start,
                                      .end = p.end,
                                      .scores = p.scores,
                                      .tokens = p.tokens,
                                      .keys = p.keys,
                                      .heads = p.heads,
                                      .dim = p.dim,
                                      .scores_stride = p.scores_stride,
                                      .outside = outside};
}

Result<kernels::PagedIndexerScoresParams> paged_indexer_scores(
    const dsaperf_paged_indexer_scores_params& p) {
  DSAPERF_TRY(check_extents("paged_indexer_scores", {{p.batch, p.block_table_stride},
                                                     {p.batch, p.scores_stride},
                                                     {p.page_count, p.page_stride_bytes},
                                                     {p.max_context},
                                                     {p.block_table_stride, kIndexDim}}));
  DSAPERF_TRY_ASSIGN(const auto outside,
                     enumerator<kernels::OutsideScores>(p.outside, 2, "outside"));
  if (p.batch > 0 && p.max_context > 0 && p.page_count < 1)
    return fail(Errc::kInvalidArgument, "paged_indexer_scores: page_count {} < 1", p.page_count);
  return kernels::PagedIndexerScoresParams{.q = p.q,
                                           .weights = p.weights,
                                           .pages = p.pages,
                                           .block_table = p.block_table,
                                           .context_length = p.context_length,
                                           .scores = p.scores,
                                           .batch = p.batch,
                                           .q_len = p.q_len,
                                           .heads = p.heads,
                                           .dim = p.dim,
                                           .max_context = p.max_context,
                                           .page_stride_bytes = p.page_stride_bytes,
                                           .block_table_stride = p.block_table_stride,
                                           .scores_stride = p.scores_stride,
                                           .outside = outside,
                                           .page_count = p.page_count};
}

Result<kernels::TopkParams> topk(const dsaperf_topk_params& p) {
  DSAPERF_TRY(check_extents(
      "topk", {{p.rows, p.scores_stride}, {p.rows, p.indices_stride}, {p.columns}, {p.topk}}));
  return kernels::TopkParams{.scores = p.scores,
                             .start = p.start,
                             .end = p.end,
                             .indices = p.indices,
                             .rows = p.rows,
                             .columns = p.columns,
                             .topk = p.topk,
                             .scores_stride = p.scores_stride,
                             .indices_stride = p.indices_stride};
}

Result<kernels::SelectionRowsParams> selection_rows(const dsaperf_selection_rows_params& p) {
  DSAPERF_TRY(check_extents("selection_rows", {{p.tokens, p.positions_stride},
                                               {p.tokens, p.rows_stride},
                                               {p.requests, p.block_table_stride}}));
  if (p.tokens > 0 && p.requests < 1)
    return fail(Errc::kInvalidArgument, "selection_rows: requests {} < 1", p.requests);
  return kernels::SelectionRowsParams{.positions = p.positions,
                                      .request = p.request,
                                      .block_table = p.block_table,
                                      .rows = p.rows,
                                      .tokens = p.tokens,
                                      .topk = p.topk,
                                      .positions_stride = p.positions_stride,
                                      .rows_stride = p.rows_stride,
                                      .block_table_stride = p.block_table_stride,
                                      .requests = p.requests};
}

Result<kernels::SparseMlaParams> sparse_mla(const dsaperf_sparse_mla_params& p) {
  DSAPERF_TRY(check_extents("sparse_mla", {{p.tokens, p.q_token_stride},
                                           {p.tokens, p.indices_stride},
                                           {p.tokens, p.out_token_stride},
                                           {p.tokens, p.lse_stride},
                                           {p.heads, p.q_head_stride},
                                           {p.heads, p.out_head_stride},
                                           {p.kv_rows, p.kv_row_stride_bytes},
                                           {p.topk}}));
  DSAPERF_TRY_ASSIGN(const auto format,
                     enumerator<kernels::KvRows::Format>(p.kv_format, 2, "kv_format"));
  return kernels::SparseMlaParams{.q = p.q,
                                  .kv = {.data = p.kv,
                                         .format = format,
                                         .rows = p.kv_rows,
                                         .row_stride_bytes = p.kv_row_stride_bytes},
                                  .indices = p.indices,
                                  .topk_length = p.topk_length,
                                  .out = p.out,
                                  .lse = p.lse,
                                  .tokens = p.tokens,
                                  .heads = p.heads,
                                  .topk = p.topk,
                                  .q_token_stride = p.q_token_stride,
                                  .q_head_stride = p.q_head_stride,
                                  .indices_stride = p.indices_stride,
                                  .out_token_stride = p.out_token_stride,
                                  .out_head_stride = p.out_head_stride,
                                  .lse_stride = p.lse_stride,
                                  .scale = p.scale};
}

}  // namespace
}  // namespace dsaperf::capi

using namespace dsaperf;  // NOLINT(google-build-using-namespace): the functions below are C's

extern "C" {

dsaperf_status dsaperf_gemm(const dsaperf_gemm_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::gemm, kernels::gemm_reference,
                         kernels::cpu::gemm, capi::gpu_gemm);
}
dsaperf_status dsaperf_gemm_workspace(const dsaperf_gemm_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::gemm, capi::gpu_gemm_workspace);
}

dsaperf_status dsaperf_fp8_gemm(const dsaperf_fp8_gemm_params* params,
                                const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::fp8_gemm, kernels::fp8_gemm_reference,
                         kernels::cpu::fp8_gemm, capi::OnStream<kernels::fp8_gemm>{});
}
dsaperf_status dsaperf_fp8_gemm_workspace(const dsaperf_fp8_gemm_params* params,
                                          const dsaperf_execution* where, size_t* bytes,
                                          dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::fp8_gemm, capi::NoWorkspace{});
}

dsaperf_status dsaperf_quantise_groups(const dsaperf_quantise_groups_params* params,
                                       const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::quantise_groups,
                         kernels::quantise_groups_reference,
                         capi::on_one_thread(kernels::quantise_groups_reference),
                         capi::OnStream<kernels::quantise_groups>{});
}
dsaperf_status dsaperf_quantise_groups_workspace(const dsaperf_quantise_groups_params* params,
                                                 const dsaperf_execution* where, size_t* bytes,
                                                 dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::quantise_groups,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_norm(const dsaperf_norm_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::norm, capi::either_norm,
                         capi::on_one_thread(capi::either_norm),
                         capi::OnStream<capi::either_norm_on_gpu>{});
}
dsaperf_status dsaperf_norm_workspace(const dsaperf_norm_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::norm, capi::NoWorkspace{});
}

dsaperf_status dsaperf_rope(const dsaperf_rope_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::rope, kernels::rope_reference,
                         kernels::cpu::rope, capi::OnStream<kernels::rope>{});
}
dsaperf_status dsaperf_rope_workspace(const dsaperf_rope_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::rope, capi::NoWorkspace{});
}

dsaperf_status dsaperf_indexer_quantise(const dsaperf_indexer_quantise_params* params,
                                        const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::indexer_quantise,
                         kernels::indexer_quantise_reference, kernels::cpu::indexer_quantise,
                         capi::OnStream<kernels::indexer_quantise>{});
}
dsaperf_status dsaperf_indexer_quantise_workspace(const dsaperf_indexer_quantise_params* params,
                                                  const dsaperf_execution* where, size_t* bytes,
                                                  dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::indexer_quantise,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_kv_cache_write(const dsaperf_kv_cache_write_params* params,
                                      const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::kv_cache_write,
                         kernels::kv_cache_write_reference,
                         capi::on_one_thread(kernels::kv_cache_write_reference),
                         capi::OnStream<kernels::kv_cache_write>{});
}
dsaperf_status dsaperf_kv_cache_write_workspace(const dsaperf_kv_cache_write_params* params,
                                                const dsaperf_execution* where, size_t* bytes,
                                                dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::kv_cache_write,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_index_key_cache_write(const dsaperf_index_key_cache_write_params* params,
                                             const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::index_key_cache_write,
                         kernels::index_key_cache_write_reference,
                         capi::on_one_thread(kernels::index_key_cache_write_reference),
                         capi::OnStream<kernels::index_key_cache_write>{});
}
dsaperf_status dsaperf_index_key_cache_write_workspace(
    const dsaperf_index_key_cache_write_params* params, const dsaperf_execution* where,
    size_t* bytes, dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::index_key_cache_write,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_gather_index_keys(const dsaperf_gather_index_keys_params* params,
                                         const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::gather_index_keys,
                         kernels::gather_index_keys_reference,
                         capi::on_one_thread(kernels::gather_index_keys_reference),
                         capi::OnStream<kernels::gather_index_keys>{});
}
dsaperf_status dsaperf_gather_index_keys_workspace(const dsaperf_gather_index_keys_params* params,
                                                   const dsaperf_execution* where, size_t* bytes,
                                                   dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::gather_index_keys,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_indexer_scores(const dsaperf_indexer_scores_params* params,
                                      const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::indexer_scores,
                         kernels::indexer_scores_reference, kernels::cpu::indexer_scores,
                         capi::gpu_indexer_scores);
}
dsaperf_status dsaperf_indexer_scores_workspace(const dsaperf_indexer_scores_params* params,
                                                const dsaperf_execution* where, size_t* bytes,
                                                dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::indexer_scores,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_paged_indexer_scores(const dsaperf_paged_indexer_scores_params* params,
                                            const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::paged_indexer_scores,
                         kernels::paged_indexer_scores_reference,
                         kernels::cpu::paged_indexer_scores, capi::gpu_paged_indexer_scores);
}
dsaperf_status dsaperf_paged_indexer_scores_workspace(
    const dsaperf_paged_indexer_scores_params* params, const dsaperf_execution* where,
    size_t* bytes, dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::paged_indexer_scores,
                               capi::gpu_paged_indexer_scores_workspace);
}

dsaperf_status dsaperf_topk(const dsaperf_topk_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::topk, kernels::topk_reference,
                         kernels::cpu::topk, capi::gpu_topk);
}
dsaperf_status dsaperf_topk_workspace(const dsaperf_topk_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::topk, capi::gpu_topk_workspace);
}

dsaperf_status dsaperf_selection_rows(const dsaperf_selection_rows_params* params,
                                      const dsaperf_execution* where, dsaperf_error* error) {
  return capi::run_stage(params, where, error, capi::selection_rows,
                         kernels::selection_rows_reference,
                         capi::on_one_thread(kernels::selection_rows_reference),
                         capi::OnStream<kernels::selection_rows>{});
}
dsaperf_status dsaperf_selection_rows_workspace(const dsaperf_selection_rows_params* params,
                                                const dsaperf_execution* where, size_t* bytes,
                                                dsaperf_error* error) {
  return capi::stage_workspace(params, where, bytes, error, capi::selection_rows,
                               capi::NoWorkspace{});
}

dsaperf_status dsaperf_sparse_mla(const dsaperf_sparse_mla_params* params,
                                  const dsaperf_execution* where, dsaperf_error* error) {
  const bool decode =
      params != nullptr && params->struct_size == sizeof *params && params->decode != 0;
  return capi::run_stage(params, where, error, capi::sparse_mla, kernels::sparse_mla_reference,
                         kernels::cpu::sparse_mla,
                         [decode](const auto& converted, const capi::Execution& execution) {
                           return capi::gpu_sparse_mla(converted, decode, execution);
                         });
}
dsaperf_status dsaperf_sparse_mla_workspace(const dsaperf_sparse_mla_params* params,
                                            const dsaperf_execution* where, size_t* bytes,
                                            dsaperf_error* error) {
  const bool decode =
      params != nullptr && params->struct_size == sizeof *params && params->decode != 0;
  return capi::stage_workspace(params, where, bytes, error, capi::sparse_mla,
                               [decode](const auto& converted) {
                                 return capi::gpu_sparse_mla_workspace(converted, decode);
                               });
}

}  // extern "C"
