#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/host_ranges.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/host_range.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

namespace dsaperf::op {

using kernels::kIndexDim;
using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kRopeDim;
using model::Stage;

// One pass through the stages: parameters of each out of the pass's tensors, nothing else.
class StageRunner {
 public:
  StageRunner(const DsaLayer& layer, ForwardPass& pass, const CacheManager& cache,
              DsaLayer::Observer& observer)
      : layer_(layer),
        backend_(*layer.backend_),
        spec_(pass.spec),
        pass_(pass),
        cache_(cache),
        observer_(observer),
        n_(pass.tokens) {}

  Result<void> run(std::span<const Stage> stages) {
    for (const Stage stage : stages) {
      if (stage == Stage::kIndexerScores) {
        DSAPERF_TRY(select());  // scores and top-k, chunk by chunk
        continue;
      }
      if (stage == Stage::kTopk) continue;
      DSAPERF_TRY(timed(stage, [&] { return run(stage); }));
    }
    return {};
  }

 private:
  template <typename Work>
  Result<void> timed(Stage stage, const Work& work) {
    DSAPERF_TRY(observer_.before(stage));
    {
      // `dsaperf profile` and `trace show` tell by it exactly which kernels are whose.
      const HostRange range(std::string(kStageRange).append(model::name(stage)));
      DSAPERF_TRY(work());
    }
    return observer_.after(stage);
  }

  Result<void> run(Stage stage) {
    switch (stage) {
      case Stage::kQkvAProjection:
        return qkv_a_projection();
      case Stage::kNormRope:
        return norm_rope();
      case Stage::kQBProjection:
        return q_b_projection();
      case Stage::kAbsorb:
        return absorb();
      case Stage::kCacheWrite:
        return cache_write();
      case Stage::kIndexerProjection:
        return indexer_projection();
      case Stage::kIndexerQuantise:
        return indexer_quantise();
      case Stage::kIndexCacheWrite:
        return index_cache_write();
      case Stage::kAttention:
        return attention();
      case Stage::kVUp:
        return v_up();
      case Stage::kOProjection:
        return o_projection();
      case Stage::kIndexerScores:
      case Stage::kTopk:
        break;
    }
    return {};
  }

  // Tensors of fp8 activations: of x and then of v_out; of q_r, which norm_rope fills.
  struct Quantised {
    const char* values;
    const char* scales;
  };
  static constexpr Quantised kOfX = {"x_e4m3", "x_scales"};
  static constexpr Quantised kOfQueryLatent = {"q_r_e4m3", "q_r_scales"};

  // Activations of the projections that follow; without values for bf16 weights.
  kernels::QuantiseGroupsParams quantised(const Tensor& x, std::int64_t columns,
                                          const Quantised& into) {
    if (!pass_.has(into.values)) return {};
    return {.x = x.buffer.data(),
            .values = pass_.at(into.values).e4m3(),
            .scales = pass_.at(into.scales).f32(),
            .rows = n_,
            .dim = static_cast<int>(columns),
            .x_stride = columns,
            .values_stride = columns,
            .scales_stride = groups(columns)};
  }

  Result<void> quantise(const Tensor& x, std::int64_t columns) {
    const auto params = quantised(x, columns, kOfX);
    return params.values == nullptr ? Result<void>() : backend_.quantise_groups(params);
  }

  static std::int64_t groups(std::int64_t size) {
    return (size + kernels::kQuantGroup - 1) / kernels::kQuantGroup;
  }

  Result<void> project(const Tensor& x, const DsaLayer::Projection& w, const Tensor& y,
                       const Quantised& quantised_x = kOfX) {
    if (w.fp8.data() != nullptr && y.type == DType::kBf16)
      return backend_.fp8_gemm({.x = pass_.at(quantised_x.values).e4m3(),
                                .x_scales = pass_.at(quantised_x.scales).f32(),
                                .w = w.fp8.as<std::uint8_t>(),
                                .w_scales = w.scales.as<float>(),
                                .y = y.buffer.data(),
                                .m = n_,
                                .n = w.rows,
                                .k = w.columns,
                                .x_stride = w.columns,
                                .x_scales_stride = groups(w.columns),
                                .w_stride = w.columns,
                                .w_scales_stride = groups(w.columns),
                                .y_stride = w.rows});
    return backend_.gemm(
        {.x = x.buffer.data(),
         .w = w.bf16.data(),
         .y = y.buffer.data(),
         .m = n_,
         .n = w.rows,
         .k = w.columns,
         .x_stride = w.columns,
         .w_stride = w.columns,
         .y_stride = w.rows,
         .output = y.type == DType::kF32 ? kernels::GemmOutput::kF32 : kernels::GemmOutput::kBf16});
  }

  Result<void> o_projection() {
    DSAPERF_TRY(quantise(pass_.at("v_out"), std::int64_t{spec_.heads} * spec_.v));
    return project(pass_.at("v_out"), layer_.o_, pass_.at("y"));
  }

  Result<void> qkv_a_projection() {
    const Tensor& x = pass_.at("x");
    DSAPERF_TRY(quantise(x, spec_.hidden));
    DSAPERF_TRY(project(x, layer_.qkv_a_, pass_.at("qkv_a")));
    if (pass_.has("head_weight")) DSAPERF_TRY(project(x, layer_.iw_, pass_.at("head_weight")));
    return {};
  }

  kernels::RopeParams rope(std::uint16_t* x, int heads, std::int64_t head_stride,
                           kernels::RopePairs pairs) {
    return {.x = x,
            .cos_sin = pass_.at("rope_table").f32(),
            .positions = pass_.at("rope_row").i32(),
            .tokens = n_,
            .table_rows = n_,
            .heads = heads,
            .dim = kRopeDim,
            .token_stride = heads * head_stride,
            .head_stride = head_stride,
            .pairs = pairs};
  }
  // Out of rows of another tensor, which keeps them as they are.
  kernels::RopeParams rope(const std::uint16_t* source, std::int64_t source_head_stride,
                           std::uint16_t* x, int heads, std::int64_t head_stride) {
    auto params = rope(x, heads, head_stride, kernels::RopePairs::kInterleaved);
    params.source = source;
    params.source_token_stride = heads * source_head_stride;
    params.source_head_stride = source_head_stride;
    return params;
  }

  Result<void> norm_rope() {
    const Tensor& q_r = pass_.at("q_r");
    const auto columns = spec_.qkv_a_columns();
    const std::uint16_t* const qkv_a = pass_.at("qkv_a").bf16();
    const std::uint16_t* const kv = qkv_a + columns.kv;
    return backend_.norm_rope(
        {.query = {.x = qkv_a,
                   .weight = layer_.q_a_norm_.as<float>(),
                   .out = q_r.buffer.data(),
                   .rows = n_,
                   .dim = spec_.q_lora,
                   .x_stride = columns.all,
                   .out_stride = spec_.q_lora,
                   .eps = spec_.norm_eps},
         .quantised = quantised(q_r, spec_.q_lora, kOfQueryLatent),
         .latent = {.x = kv,
                    .weight = layer_.kv_a_norm_.as<float>(),
                    .out = pass_.at("latent").buffer.data(),
                    .rows = n_,
                    .dim = kLatentDim,
                    .x_stride = columns.all,
                    .out_stride = kLatentDim,
                    .eps = spec_.norm_eps},
         .key = rope(kv + kLatentDim, columns.all, pass_.at("k_rope").bf16(), 1, kRopeDim)});
  }

  Result<void> q_b_projection() {
    DSAPERF_TRY(project(pass_.at("q_r"), layer_.q_b_, pass_.at("q"), kOfQueryLatent));
    return backend_.rope(rope(pass_.at("q").bf16() + spec_.nope, spec_.query_dim(),
                              pass_.at("query").bf16() + kLatentDim, spec_.heads, kKeyDim));
  }

  Result<void> absorb() {
    return backend_.gemm({.x = pass_.at("q").bf16(),
                          .w = layer_.kv_b_.bf16.data(),
                          .y = pass_.at("query").bf16(),
                          .m = n_,
                          .n = kLatentDim,
                          .k = spec_.nope,
                          .batch = spec_.heads,
                          .x_stride = std::int64_t{spec_.heads} * spec_.query_dim(),
                          .w_stride = kLatentDim,
                          .y_stride = std::int64_t{spec_.heads} * kKeyDim,
                          .x_batch_stride = spec_.query_dim(),
                          .w_batch_stride = std::int64_t{spec_.nope + spec_.v} * kLatentDim,
                          .y_batch_stride = kKeyDim,
                          .w_layout = kernels::WeightLayout::kInOut});
  }

  Result<void> v_up() {
    return backend_.gemm({.x = pass_.at("latent_out").bf16(),
                          .w = layer_.kv_b_.bf16.as<std::uint16_t>() + spec_.nope * kLatentDim,
                          .y = pass_.at("v_out").bf16(),
                          .m = n_,
                          .n = spec_.v,
                          .k = kLatentDim,
                          .batch = spec_.heads,
                          .x_stride = std::int64_t{spec_.heads} * kLatentDim,
                          .w_stride = kLatentDim,
                          .y_stride = std::int64_t{spec_.heads} * spec_.v,
                          .x_batch_stride = kLatentDim,
                          .w_batch_stride = std::int64_t{spec_.nope + spec_.v} * kLatentDim,
                          .y_batch_stride = spec_.v});
  }

  Result<void> cache_write() {
    const auto rows = cache_.kv_rows();
    return backend_.kv_cache_write({.latent = pass_.at("latent").buffer.data(),
                                    .rope = pass_.at("k_rope").buffer.data(),
                                    .slots = pass_.at("slots").i64(),
                                    .cache = const_cast<void*>(rows.data),
                                    .tokens = n_,
                                    .rows = rows.rows,
                                    .latent_stride = kLatentDim,
                                    .rope_stride = kRopeDim,
                                    .row_stride_bytes = rows.row_stride_bytes,
                                    .format = rows.format,
                                    .scale_format = cache_.options().kv_scales});
  }

  kernels::LayerNormParams index_key_norm() {
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
  kernels::RopeParams index_key_rope() {
    return rope(pass_.at("index_key").bf16(), 1, kIndexDim, spec_.index_rope);
  }
  kernels::IndexerQuantiseParams quantised_index_key() {
    return {.x = pass_.at("index_key").buffer.data(),
            .values = pass_.at("index_key_e4m3").e4m3(),
            .scales = pass_.at("index_key_scale").f32(),
            .rows = n_,
            .x_stride = kIndexDim};
  }

  Result<void> indexer_projection() {
    const Tensor& query = pass_.at("index_query");
    DSAPERF_TRY(project(pass_.at("q_r"), layer_.iq_, query, kOfQueryLatent));
    return backend_.indexer_norm_rope(
        {.query = rope(query.bf16(), spec_.index_heads, kIndexDim, spec_.index_rope),
         .key_norm = index_key_norm(),
         .key = index_key_rope()});
  }

  Result<void> indexer_quantise() {
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

  Result<void> index_cache_write() {
    const kernels::IndexKeyCacheWriteParams write = {.values = pass_.at("index_key_e4m3").e4m3(),
                                                     .scales = pass_.at("index_key_scale").f32(),
                                                     .slots = pass_.at("slots").i64(),
                                                     .pages = cache_.index_pages(),
                                                     .tokens = n_,
                                                     .page_count = cache_.pool().pages(),
                                                     .page_stride_bytes = kernels::kIndexPageBytes};
    if (!pass_.dense) return backend_.index_key_cache_write(write);
    // Stages 6 and 7 did not run, the key is needed all the same.
    return backend_.index_key_write({.norm = index_key_norm(),
                                     .rope = index_key_rope(),
                                     .quantised = quantised_index_key(),
                                     .write = write});
  }

  // Tokens [first, first + count): their scores lie in the scratch. Top-k, rows of the cache.
  Result<void> take_top(std::int64_t first, std::int64_t count, std::int64_t columns) {
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

  Result<void> selection_rows(std::int64_t first, std::int64_t count) {
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

  Result<void> keep_scores(std::int64_t first, std::int64_t count) {
    const Tensor& scratch = pass_.at("scores_scratch");
    const std::int64_t row_bytes = 4 * scratch.shape[1];
    std::int64_t row = 0;
    for (const auto& [token, scores] : pass_.kept_scores) {
      if (token >= first && token < first + count)
        DSAPERF_TRY(backend_.copy_rows(scratch.f32() + (token - first) * scratch.shape[1],
                                       row_bytes,
                                       pass_.at("kept_scores_scratch").f32() + row * pass_.longest,
                                       4 * pass_.longest, 4 * pass_.longest, 1));
      ++row;
    }
    return {};
  }

  Result<void> select() { return pass_.uniform_q_len > 0 ? select_paged() : select_gathered(); }

  // Decode: scores straight from the pages, several requests at once.
  Result<void> select_paged() {
    const Tensor& scratch = pass_.at("scores_scratch");
    const int q_len = pass_.uniform_q_len;
    const auto requests = static_cast<std::int64_t>(pass_.requests.size());
    const std::int64_t step = std::max<std::int64_t>(1, scratch.shape[0] / q_len);
    for (std::int64_t r = 0; r < requests; r += step) {
      const std::int64_t batch = std::min(step, requests - r);
      const std::int64_t first = r * q_len;
      const auto scores = timed(Stage::kIndexerScores, [&] {
        return backend_.paged_indexer_scores(
            {.q = pass_.at("index_query_e4m3").e4m3() + first * spec_.index_heads * kIndexDim,
             .weights = pass_.at("head_weight_scaled").f32() + first * spec_.index_heads,
             .pages = cache_.index_pages(),
             .block_table = pass_.at("block_table").i32() + r * pass_.block_table_stride,
             .context_length = pass_.at("context").i32() + r,
             .scores = scratch.f32(),
             .batch = batch,
             .q_len = q_len,
             .heads = spec_.index_heads,
             .dim = kIndexDim,
             .max_context = pass_.longest,
             .page_stride_bytes = kernels::kIndexPageBytes,
             .block_table_stride = pass_.block_table_stride,
             .scores_stride = scratch.shape[1]});
      });
      DSAPERF_TRY(scores);
      DSAPERF_TRY(keep_scores(first, batch * q_len));
      DSAPERF_TRY(take_top(first, batch * q_len, pass_.longest));
    }
    return {};
  }

  Result<void> gather_keys(std::size_t request, std::int64_t keys) {
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

  Result<void> gathered_scores(std::int64_t first, std::int64_t count, std::int64_t keys) {
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

  // Prefill and mixed batches: the keys of a request out of their pages, then chunks of its tokens.
  Result<void> select_gathered() {
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

  // A list of the dense regime or of top-k has nothing but -1 beyond what its token sees, so that
  // a prompt's first tokens take as long as their rows. One that was handed in may have -1
  // anywhere.
  const std::int32_t* list_lengths(std::int64_t first) {
    return spec_.has_indexer || pass_.dense ? pass_.at("score_end").i32() + first : nullptr;
  }

  // What the part attends to. bf16_rows is made here and not kept from the cache's write: past rows
  // are of other passes, and attention alone may run again.
  Result<kernels::KvRows> attention_rows(const ForwardPass::AttentionPart& part) {
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

  Result<void> attention() {
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

  const DsaLayer& layer_;
  Backend& backend_;
  const LayerSpec& spec_;
  ForwardPass& pass_;
  const CacheManager& cache_;
  DsaLayer::Observer& observer_;
  std::int64_t n_;
};

Result<void> DsaLayer::enqueue(ForwardPass& pass, const CacheManager& cache,
                               Observer& observer) const {
  if (pass.tokens == 0) return {};
  return StageRunner(*this, pass, cache, observer).run(pass.stages);
}

bool DsaLayer::runs_with(Stage stage, std::span<const Stage> stages) {
  const auto asked = [&](Stage each) { return std::ranges::find(stages, each) != stages.end(); };
  const bool selects = stage == Stage::kIndexerScores || stage == Stage::kTopk;
  return selects ? asked(Stage::kIndexerScores) || asked(Stage::kTopk) : asked(stage);
}

Result<void> DsaLayer::enqueue_only(ForwardPass& pass, const CacheManager& cache,
                                    std::span<const Stage> stages, Observer& observer) const {
  for (const Stage stage : stages)
    if (std::ranges::find(pass.stages, stage) == pass.stages.end())
      return fail(Errc::kInvalidArgument, "the layer does not run stage {}", model::name(stage));
  if (pass.tokens == 0) return {};
  std::vector<Stage> some;  // in the order of the pass
  for (const Stage stage : pass.stages)
    if (runs_with(stage, stages)) some.push_back(stage);
  return StageRunner(*this, pass, cache, observer).run(some);
}

Result<void> DsaLayer::enqueue(ForwardPass& pass, const CacheManager& cache) const {
  Observer nobody;
  return enqueue(pass, cache, nobody);
}

Result<void> DsaLayer::run(ForwardPass& pass, const CacheManager& cache, Observer& observer) const {
  DSAPERF_TRY(enqueue(pass, cache, observer));
  DSAPERF_TRY(backend_->synchronise());
  return fetch_scores(pass);
}

Result<void> DsaLayer::run(ForwardPass& pass, const CacheManager& cache) const {
  Observer nobody;
  return run(pass, cache, nobody);
}

}  // namespace dsaperf::op
