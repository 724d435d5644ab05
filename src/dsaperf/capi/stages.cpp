#include "dsaperf/capi/execution.hpp"
#include "dsaperf/capi/gpu_stages.hpp"
#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/cpu/cpu.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/op/layer_spec.hpp"

// The stages of the C interface: each C struct becomes the parameters of kernels/, after its sizes
// were found sane. The kernels check the rest.
namespace dsaperf::capi {
namespace {

using kernels::kIndexDim;

// Stages without a quicker path of their own on the host run the reference on one thread.
template <auto kReference>
struct OnOneThread {
  template <typename Params>
  Result<void> operator()(const Params& params, int) const {
    return kReference(params);
  }
};

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
                                                {op::scale_groups(p.dim)}}));
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

struct SparseMlaCall : kernels::SparseMlaParams {
  bool decode;  // what the GPU's kernels are chosen by
};

Result<SparseMlaCall> sparse_mla(const dsaperf_sparse_mla_params& p) {
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
  return SparseMlaCall{kernels::SparseMlaParams{.q = p.q,
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
                                                .scale = p.scale},
                       p.decode != 0};
}

constexpr Stage kGemm{gemm, kernels::gemm_reference, kernels::cpu::gemm, gpu_gemm,
                      gpu_gemm_workspace};
constexpr Stage kFp8Gemm{fp8_gemm, kernels::fp8_gemm_reference, kernels::cpu::fp8_gemm,
                         OnStream<kernels::fp8_gemm>{}, NoWorkspace{}};
constexpr Stage kQuantiseGroups{quantise_groups, kernels::quantise_groups_reference,
                                OnOneThread<kernels::quantise_groups_reference>{},
                                OnStream<kernels::quantise_groups>{}, NoWorkspace{}};
constexpr Stage kNorm{norm, either_norm, OnOneThread<either_norm>{}, OnStream<either_norm_on_gpu>{},
                      NoWorkspace{}};
constexpr Stage kRope{rope, kernels::rope_reference, kernels::cpu::rope, OnStream<kernels::rope>{},
                      NoWorkspace{}};
constexpr Stage kIndexerQuantise{indexer_quantise, kernels::indexer_quantise_reference,
                                 kernels::cpu::indexer_quantise,
                                 OnStream<kernels::indexer_quantise>{}, NoWorkspace{}};
constexpr Stage kKvCacheWrite{kv_cache_write, kernels::kv_cache_write_reference,
                              OnOneThread<kernels::kv_cache_write_reference>{},
                              OnStream<kernels::kv_cache_write>{}, NoWorkspace{}};
constexpr Stage kIndexKeyCacheWrite{index_key_cache_write, kernels::index_key_cache_write_reference,
                                    OnOneThread<kernels::index_key_cache_write_reference>{},
                                    OnStream<kernels::index_key_cache_write>{}, NoWorkspace{}};
constexpr Stage kGatherIndexKeys{gather_index_keys, kernels::gather_index_keys_reference,
                                 OnOneThread<kernels::gather_index_keys_reference>{},
                                 OnStream<kernels::gather_index_keys>{}, NoWorkspace{}};
constexpr Stage kIndexerScores{indexer_scores, kernels::indexer_scores_reference,
                               kernels::cpu::indexer_scores, gpu_indexer_scores, NoWorkspace{}};
constexpr Stage kPagedIndexerScores{paged_indexer_scores, kernels::paged_indexer_scores_reference,
                                    kernels::cpu::paged_indexer_scores, gpu_paged_indexer_scores,
                                    gpu_paged_indexer_scores_workspace};
constexpr Stage kTopk{topk, kernels::topk_reference, kernels::cpu::topk, gpu_topk,
                      gpu_topk_workspace};
constexpr Stage kSelectionRows{selection_rows, kernels::selection_rows_reference,
                               OnOneThread<kernels::selection_rows_reference>{},
                               OnStream<kernels::selection_rows>{}, NoWorkspace{}};
constexpr Stage kSparseMla{
    sparse_mla, kernels::sparse_mla_reference, kernels::cpu::sparse_mla,
    [](const SparseMlaCall& call, const Execution& where) {
      return gpu_sparse_mla(call, call.decode, where);
    },
    [](const SparseMlaCall& call) { return gpu_sparse_mla_workspace(call, call.decode); }};

}  // namespace
}  // namespace dsaperf::capi

using namespace dsaperf;  // NOLINT(google-build-using-namespace): the functions below are C's

extern "C" {

dsaperf_status dsaperf_gemm(const dsaperf_gemm_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::kGemm.run(params, where, error);
}
dsaperf_status dsaperf_gemm_workspace(const dsaperf_gemm_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::kGemm.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_fp8_gemm(const dsaperf_fp8_gemm_params* params,
                                const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kFp8Gemm.run(params, where, error);
}
dsaperf_status dsaperf_fp8_gemm_workspace(const dsaperf_fp8_gemm_params* params,
                                          const dsaperf_execution* where, size_t* bytes,
                                          dsaperf_error* error) {
  return capi::kFp8Gemm.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_quantise_groups(const dsaperf_quantise_groups_params* params,
                                       const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kQuantiseGroups.run(params, where, error);
}
dsaperf_status dsaperf_quantise_groups_workspace(const dsaperf_quantise_groups_params* params,
                                                 const dsaperf_execution* where, size_t* bytes,
                                                 dsaperf_error* error) {
  return capi::kQuantiseGroups.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_norm(const dsaperf_norm_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::kNorm.run(params, where, error);
}
dsaperf_status dsaperf_norm_workspace(const dsaperf_norm_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::kNorm.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_rope(const dsaperf_rope_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::kRope.run(params, where, error);
}
dsaperf_status dsaperf_rope_workspace(const dsaperf_rope_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::kRope.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_indexer_quantise(const dsaperf_indexer_quantise_params* params,
                                        const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kIndexerQuantise.run(params, where, error);
}
dsaperf_status dsaperf_indexer_quantise_workspace(const dsaperf_indexer_quantise_params* params,
                                                  const dsaperf_execution* where, size_t* bytes,
                                                  dsaperf_error* error) {
  return capi::kIndexerQuantise.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_kv_cache_write(const dsaperf_kv_cache_write_params* params,
                                      const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kKvCacheWrite.run(params, where, error);
}
dsaperf_status dsaperf_kv_cache_write_workspace(const dsaperf_kv_cache_write_params* params,
                                                const dsaperf_execution* where, size_t* bytes,
                                                dsaperf_error* error) {
  return capi::kKvCacheWrite.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_index_key_cache_write(const dsaperf_index_key_cache_write_params* params,
                                             const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kIndexKeyCacheWrite.run(params, where, error);
}
dsaperf_status dsaperf_index_key_cache_write_workspace(
    const dsaperf_index_key_cache_write_params* params, const dsaperf_execution* where,
    size_t* bytes, dsaperf_error* error) {
  return capi::kIndexKeyCacheWrite.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_gather_index_keys(const dsaperf_gather_index_keys_params* params,
                                         const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kGatherIndexKeys.run(params, where, error);
}
dsaperf_status dsaperf_gather_index_keys_workspace(const dsaperf_gather_index_keys_params* params,
                                                   const dsaperf_execution* where, size_t* bytes,
                                                   dsaperf_error* error) {
  return capi::kGatherIndexKeys.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_indexer_scores(const dsaperf_indexer_scores_params* params,
                                      const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kIndexerScores.run(params, where, error);
}
dsaperf_status dsaperf_indexer_scores_workspace(const dsaperf_indexer_scores_params* params,
                                                const dsaperf_execution* where, size_t* bytes,
                                                dsaperf_error* error) {
  return capi::kIndexerScores.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_paged_indexer_scores(const dsaperf_paged_indexer_scores_params* params,
                                            const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kPagedIndexerScores.run(params, where, error);
}
dsaperf_status dsaperf_paged_indexer_scores_workspace(
    const dsaperf_paged_indexer_scores_params* params, const dsaperf_execution* where,
    size_t* bytes, dsaperf_error* error) {
  return capi::kPagedIndexerScores.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_topk(const dsaperf_topk_params* params, const dsaperf_execution* where,
                            dsaperf_error* error) {
  return capi::kTopk.run(params, where, error);
}
dsaperf_status dsaperf_topk_workspace(const dsaperf_topk_params* params,
                                      const dsaperf_execution* where, size_t* bytes,
                                      dsaperf_error* error) {
  return capi::kTopk.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_selection_rows(const dsaperf_selection_rows_params* params,
                                      const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kSelectionRows.run(params, where, error);
}
dsaperf_status dsaperf_selection_rows_workspace(const dsaperf_selection_rows_params* params,
                                                const dsaperf_execution* where, size_t* bytes,
                                                dsaperf_error* error) {
  return capi::kSelectionRows.workspace(params, where, bytes, error);
}

dsaperf_status dsaperf_sparse_mla(const dsaperf_sparse_mla_params* params,
                                  const dsaperf_execution* where, dsaperf_error* error) {
  return capi::kSparseMla.run(params, where, error);
}
dsaperf_status dsaperf_sparse_mla_workspace(const dsaperf_sparse_mla_params* params,
                                            const dsaperf_execution* where, size_t* bytes,
                                            dsaperf_error* error) {
  return capi::kSparseMla.workspace(params, where, bytes, error);
}

}  // extern "C"
