// The indexer: its projections, what of them is cached, and the tokens that its scores select.
#include "dsaperf/op/stage_runner.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::op {

using kernels::kIndexDim;
using model::Stage;

kernels::LayerNormParams StageRunner::index_key_norm() {
  const auto columns = spec_.qkv_a_columns();
  return {.x = pass_.at("qkv_a").bf16() + columns.index_key,
          .weight = layer_.k_norm_.as<float>(),
          .bias = layer_.k_norm_bias_.as<float>(),
          .out = pass_.at("index_key").buffer.data(),
          .rows = n_,
          .dim = kIndexDim,
          .x_stride = columns.all,
          .out_stride = kIndexDim,
          .eps = 1e-6F};
}

kernels::RopeParams StageRunner::index_key_rope() {
  return rope(pass_.at("index_key").bf16(), 1, kIndexDim, spec_.index_rope);
}

kernels::IndexerQuantiseParams StageRunner::quantised_index_key() {
  return {.x = pass_.at("index_key").buffer.data(),
          .values = pass_.at("index_key_e4m3").e4m3(),
          .scales = pass_.at("index_key_scale").f32(),
          .rows = n_,
          .x_stride = kIndexDim};
}

Result<void> StageRunner::indexer_projection() {
  const Tensor& query = pass_.at("index_query");
  DSAPERF_TRY(project(pass_.at("q_r"), layer_.iq_, query, kOfQueryLatent));
  return backend_.indexer_norm_rope(
      {.query = rope(query.bf16(), spec_.index_heads, kIndexDim, spec_.index_rope),
       .key_norm = index_key_norm(),
       .key = index_key_rope()});
}

Result<void> StageRunner::indexer_quantise() {
  return backend_.indexer_quantise_both(
      {.x = pass_.at("index_query").buffer.data(),
       .values = pass_.at("index_query_e4m3").e4m3(),
       .weights = pass_.at("head_weight").f32(),
       .weights_out = pass_.at("head_weight_scaled").f32(),
       .rows = n_ * spec_.index_heads,
       .x_stride = kIndexDim,
       .weight_factor = 1 / std::sqrt(static_cast<float>(spec_.index_heads * kIndexDim))},
      quantised_index_key());
}

Result<void> StageRunner::index_cache_write() {
  const auto write =
      cache_.index_key_write(pass_.at("index_key_e4m3").e4m3(), pass_.at("index_key_scale").f32(),
                             pass_.at("slots").i64(), n_);
  if (!pass_.dense) return backend_.index_key_cache_write(write);
  // The indexer's own stages do not run; later passes need the key all the same.
  return backend_.index_key_write({.norm = index_key_norm(),
                                   .rope = index_key_rope(),
                                   .quantised = quantised_index_key(),
                                   .write = write});
}

Result<void> StageRunner::select_paged() {
  const int q_len = pass_.uniform_q_len;
  const auto requests = static_cast<std::int64_t>(pass_.requests.size());
  const std::int64_t step = std::max<std::int64_t>(1, pass_.at("scores_scratch").shape[0] / q_len);
  for (std::int64_t r = 0; r < requests; r += step) {
    const std::int64_t batch = std::min(step, requests - r);
    DSAPERF_TRY(timed(Stage::kIndexerScores, [&] { return paged_scores(r, batch); }));
    DSAPERF_TRY(keep_scores(r * q_len, batch * q_len));
    DSAPERF_TRY(take_top(r * q_len, batch * q_len, pass_.longest));
  }
  return {};
}

Result<void> StageRunner::paged_scores(std::int64_t first_request, std::int64_t requests) {
  const Tensor& scratch = pass_.at("scores_scratch");
  const std::int64_t first = first_request * pass_.uniform_q_len;
  return backend_.paged_indexer_scores(
      {.q = pass_.at("index_query_e4m3").e4m3() + first * spec_.index_heads * kIndexDim,
       .weights = pass_.at("head_weight_scaled").f32() + first * spec_.index_heads,
       .pages = cache_.index_pages(),
       .block_table = pass_.at("block_table").i32() + first_request * pass_.block_table_stride,
       .context_length = pass_.at("context").i32() + first_request,
       .scores = scratch.f32(),
       .batch = requests,
       .q_len = pass_.uniform_q_len,
       .heads = spec_.index_heads,
       .dim = kIndexDim,
       .max_context = pass_.longest,
       .page_stride_bytes = kernels::kIndexPageBytes,
       .block_table_stride = pass_.block_table_stride,
       .scores_stride = scratch.shape[1]});
}

Result<void> StageRunner::select_gathered() {
  const Tensor& scratch = pass_.at("scores_scratch");
  for (std::size_t r = 0; r < pass_.requests.size(); ++r) {
    const auto& request = pass_.requests[r];
    const std::int64_t keys = pass_.lengths_change ? pass_.longest : request.context();
    for (std::int64_t done = 0; done < request.new_tokens; done += scratch.shape[0]) {
      const std::int64_t count = std::min(scratch.shape[0], request.new_tokens - done);
      const std::int64_t first = request.first_token + done;
      const auto scores = timed(Stage::kIndexerScores, [&]() -> Result<void> {
        if (done == 0) DSAPERF_TRY(gather_keys(r, keys));
        return gathered_scores(first, count, keys);
      });
      DSAPERF_TRY(scores);
      DSAPERF_TRY(keep_scores(first, count));
      DSAPERF_TRY(take_top(first, count, keys));
    }
  }
  return {};
}

Result<void> StageRunner::gather_keys(std::size_t request, std::int64_t keys) {
  return backend_.gather_index_keys(
      {.pages = cache_.index_pages(),
       .block_table = pass_.at("block_table").i32() +
                      static_cast<std::int64_t>(request) * pass_.block_table_stride,
       .values = pass_.at("gathered_keys").e4m3(),
       .scales = pass_.at("gathered_scales").f32(),
       .tokens = keys,
       .page_count = cache_.pool().pages(),
       .page_stride_bytes = kernels::kIndexPageBytes});
}

Result<void> StageRunner::gathered_scores(std::int64_t first, std::int64_t count,
                                          std::int64_t keys) {
  const Tensor& scratch = pass_.at("scores_scratch");
  return backend_.indexer_scores(
      {.q = pass_.at("index_query_e4m3").e4m3() + first * spec_.index_heads * kIndexDim,
       .weights = pass_.at("head_weight_scaled").f32() + first * spec_.index_heads,
       .k = pass_.at("gathered_keys").e4m3(),
       .k_scales = pass_.at("gathered_scales").f32(),
       .start = pass_.at("score_start").i32() + first,
       .end = pass_.at("score_end").i32() + first,
       .scores = scratch.f32(),
       .tokens = count,
       .keys = keys,
       .heads = spec_.index_heads,
       .dim = kIndexDim,
       .scores_stride = scratch.shape[1]});
}

Result<void> StageRunner::take_top(std::int64_t first, std::int64_t count, std::int64_t columns) {
  const std::int64_t stride = pass_.at("scores_scratch").shape[1];
  return timed(Stage::kTopk, [&]() -> Result<void> {
    DSAPERF_TRY(backend_.topk({.scores = pass_.at("scores_scratch").f32(),
                               .end = pass_.at("score_end").i32() + first,
                               .indices = pass_.at("selection").i32() + first * pass_.selected,
                               .rows = count,
                               .columns = columns,
                               .topk = pass_.selected,
                               .scores_stride = stride,
                               .indices_stride = pass_.selected}));
    return selection_rows(first, count);
  });
}

Result<void> StageRunner::keep_scores(std::int64_t first, std::int64_t count) {
  const Tensor& scratch = pass_.at("scores_scratch");
  const std::int64_t row_bytes = 4 * scratch.shape[1];
  std::int64_t row = 0;
  for (const auto& [token, scores] : pass_.kept_scores) {
    if (token >= first && token < first + count)
      DSAPERF_TRY(backend_.copy_rows(scratch.f32() + (token - first) * scratch.shape[1], row_bytes,
                                     pass_.at("kept_scores_scratch").f32() + row * pass_.longest,
                                     4 * pass_.longest, 4 * pass_.longest, 1));
    ++row;
  }
  return {};
}

}  // namespace dsaperf::op
