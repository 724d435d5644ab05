// The cache of latents, and attention over the rows of it that were selected.
#include "dsaperf/op/stage_runner.hpp"

namespace dsaperf::op {

using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kRopeDim;

Result<void> StageRunner::cache_write() {
  return backend_.kv_cache_write(cache_.kv_write(pass_.at("latent").buffer.data(),
                                                 pass_.at("k_rope").buffer.data(),
                                                 pass_.at("slots").i64(), n_));
}

Result<void> StageRunner::selection_rows(std::int64_t first, std::int64_t count) {
  return backend_.selection_rows(
      {.positions = pass_.at("selection").i32() + first * pass_.selected,
       .request = pass_.at("request_of").i32() + first,
       .block_table = pass_.at(pass_.has("row_table") ? "row_table" : "block_table").i32(),
       .rows = pass_.at("selection_rows").i32() + first * pass_.selected,
       .tokens = count,
       .topk = pass_.selected,
       .positions_stride = pass_.selected,
       .rows_stride = pass_.selected,
       .block_table_stride = pass_.block_table_stride});
}

// A list of the dense regime or of top-k has nothing but -1 beyond what its token sees, so that
// a prompt's first tokens take as long as their rows. One that was handed in may have -1
// anywhere.
const std::int32_t* StageRunner::list_lengths(std::int64_t first) {
  return spec_.has_indexer || pass_.dense ? pass_.at("score_end").i32() + first : nullptr;
}

// What the part attends to. bf16_rows is made here and not kept from the cache's write: past rows
// are of other passes, and attention alone may run again.
Result<kernels::KvRows> StageRunner::attention_rows(const ForwardPass::AttentionPart& part) {
  if (!part.bf16_rows) return cache_.kv_rows();
  const Tensor& rows = pass_.at("bf16_rows_scratch");
  DSAPERF_TRY(backend_.rows_to_bf16({.cache = cache_.kv_rows(),
                                     .pages = pass_.at("bf16_pages").i32() + part.first_page,
                                     .out = rows.buffer.data(),
                                     .page_count = part.pages}));
  return kernels::KvRows{.data = rows.buffer.data(),
                         .rows = part.pages * kernels::kPageTokens,
                         .row_stride_bytes = kernels::kKvRowBytesBf16};
}

Result<void> StageRunner::attention() {
  if (!spec_.has_indexer || pass_.dense) DSAPERF_TRY(selection_rows(0, n_));
  const std::int64_t query = std::int64_t{spec_.heads} * kKeyDim;
  const std::int64_t output = std::int64_t{spec_.heads} * kLatentDim;
  for (const auto& part : pass_.attention_parts) {
    if (part.tokens == 0) continue;
    DSAPERF_TRY_ASSIGN(const auto rows, attention_rows(part));
    const std::int64_t first = part.first_token;
    DSAPERF_TRY(
        backend_.sparse_mla({.q = pass_.at("query").bf16() + first * query,
                             .kv = rows,
                             .indices = pass_.at("selection_rows").i32() + first * pass_.selected,
                             .topk_length = list_lengths(first),
                             .out = pass_.at("latent_out").bf16() + first * output,
                             .lse = pass_.at("lse").f32() + first * spec_.heads,
                             .tokens = part.tokens,
                             .heads = spec_.heads,
                             .topk = pass_.selected,
                             .q_token_stride = query,
                             .q_head_stride = kKeyDim,
                             .indices_stride = pass_.selected,
                             .out_token_stride = output,
                             .out_head_stride = kLatentDim,
                             .lse_stride = spec_.heads,
                             .scale = spec_.softmax_scale}));
  }
  return {};
}

}  // namespace dsaperf::op
