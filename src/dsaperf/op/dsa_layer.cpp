#include "dsaperf/op/dsa_layer.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/attention_rows.hpp"

#include <algorithm>
#include <array>

namespace dsaperf::op {
namespace {

using kernels::kIndexDim;
using kernels::kKeyDim;
using kernels::kLatentDim;
using kernels::kPageTokens;
using kernels::kQuantGroup;
using kernels::kRopeDim;
using model::Stage;

// Rows of scores begin at whole sectors of 32 bytes.
constexpr std::int64_t padded(std::int64_t columns) {
  return (columns + 7) / 8 * 8;
}

template <typename T>
Result<Buffer> uploaded(Backend& backend, const std::vector<T>& values) {
  DSAPERF_TRY_ASSIGN(auto buffer, backend.allocate(values.size() * sizeof(T)));
  DSAPERF_TRY(backend.upload(values.data(), values.size() * sizeof(T), buffer.data()));
  return buffer;
}

Result<void> check_matrix(const char* name, const Matrix& matrix, std::int64_t rows,
                          std::int64_t columns) {
  if (matrix.rows != rows || matrix.columns != columns ||
      static_cast<std::int64_t>(matrix.bf16.size()) != rows * columns)
    return fail(Errc::kInvalidArgument, "weights: {} is {} x {}, the layer needs {} x {}", name,
                matrix.rows, matrix.columns, rows, columns);
  if (matrix.fp8.empty()) return {};
  if (matrix.fp8.size() != matrix.bf16.size() ||
      static_cast<std::int64_t>(matrix.scales.size()) != scale_groups(rows) * scale_groups(columns))
    return fail(Errc::kInvalidArgument, "weights: {}: fp8 values or scales are incomplete", name);
  return {};
}

Result<DsaLayer::Projection> projection(Backend& backend, const char* name, const Matrix& matrix,
                                        std::int64_t rows, std::int64_t columns) {
  DSAPERF_TRY(check_matrix(name, matrix, rows, columns));
  DsaLayer::Projection result{.rows = rows, .columns = columns};
  DSAPERF_TRY_ASSIGN(result.bf16, uploaded(backend, matrix.bf16));
  if (matrix.fp8.empty()) return result;
  DSAPERF_TRY_ASSIGN(result.fp8, uploaded(backend, matrix.fp8));
  DSAPERF_TRY_ASSIGN(result.scales, uploaded(backend, matrix.scales));
  return result;
}

// Matrices below each other, each from a row where a block of scales begins; rows between are zero.
// fp8 where all of them are.
Matrix stacked(std::span<const Matrix* const> matrices) {
  Matrix all{.columns = matrices.front()->columns};
  const bool fp8 =
      std::ranges::none_of(matrices, [](const Matrix* matrix) { return matrix->fp8.empty(); });
  for (const Matrix* const matrix : matrices) {
    const std::int64_t first = scale_groups(all.rows) * kQuantGroup;
    all.rows = first + matrix->rows;
    all.bf16.resize(first * all.columns, 0);
    all.bf16.insert(all.bf16.end(), matrix->bf16.begin(), matrix->bf16.end());
    if (!fp8) continue;
    all.fp8.resize(first * all.columns, 0);
    all.fp8.insert(all.fp8.end(), matrix->fp8.begin(), matrix->fp8.end());
    all.scales.insert(all.scales.end(), matrix->scales.begin(), matrix->scales.end());
  }
  return all;
}

Result<DsaLayer::Projection> qkv_a_projection(Backend& backend, const LayerSpec& spec,
                                              const LayerWeights& weights) {
  DSAPERF_TRY(check_matrix("q_a", weights.q_a, spec.q_lora, spec.hidden));
  DSAPERF_TRY(check_matrix("kv_a", weights.kv_a, kKeyDim, spec.hidden));
  std::vector<const Matrix*> matrices = {&weights.q_a, &weights.kv_a};
  if (spec.has_indexer) {
    DSAPERF_TRY(check_matrix("ik", weights.ik, kIndexDim, spec.hidden));
    matrices.insert(matrices.begin() + 1, &weights.ik);
  }
  return projection(backend, "qkv_a", stacked(matrices), spec.qkv_a_columns().all, spec.hidden);
}

Result<Buffer> vector_of(Backend& backend, const char* name, const std::vector<float>& values,
                         int size) {
  if (static_cast<int>(values.size()) != size)
    return fail(Errc::kInvalidArgument, "weights: {} has {} values, the layer needs {}", name,
                values.size(), size);
  return uploaded(backend, values);
}

Result<void> check_spec(const LayerSpec& spec) {
  const auto is_head_count = [](int heads) {
    return heads == 8 || heads == 16 || heads == 32 || heads == 64 || heads == 128;
  };
  if (!is_head_count(spec.heads))
    return fail(Errc::kInvalidArgument, "layer: {} heads is not 8, 16, 32, 64 or 128", spec.heads);
  if (spec.hidden < 1 || spec.q_lora < 1 || spec.nope < 1 || spec.v < 1 || spec.topk < 1)
    return fail(Errc::kInvalidArgument,
                "layer: hidden {}, q_lora {}, nope {}, v {}, topk {}: all must be positive",
                spec.hidden, spec.q_lora, spec.nope, spec.v, spec.topk);
  if (spec.has_indexer && (!is_head_count(spec.index_heads) || spec.index_heads > 64))
    return fail(Errc::kInvalidArgument, "layer: {} index heads is not 8, 16, 32 or 64",
                spec.index_heads);
  return {};
}

std::vector<Stage> stages(const LayerSpec& spec, bool dense) {
  std::vector<Stage> result;
  for (const Stage stage : model::all_stages()) {
    if (model::is_selection(stage) && (!spec.has_indexer || dense)) continue;
    if (stage == Stage::kIndexCacheWrite && !spec.has_indexer) continue;
    result.push_back(stage);
  }
  return result;
}

// What the plan says of requests and tokens, before anything is appended.
Result<ForwardPass> plan(const LayerSpec& spec, const CacheManager& cache,
                         std::span<const BatchRequest> requests, std::int64_t longest) {
  ForwardPass pass;
  pass.spec = spec;
  pass.longest = std::max<std::int64_t>(longest, 1);
  pass.lengths_change = longest > 0;
  pass.uniform_q_len =
      requests.empty() ? 0
                       : static_cast<int>(std::min<std::int64_t>(requests.front().new_tokens, 9));
  for (const auto& [request, new_tokens] : requests) {
    DSAPERF_TRY_ASSIGN(const std::int64_t past, cache.pool().length(request));
    if (new_tokens < 0)
      return fail(Errc::kInvalidArgument, "batch: request {} has {} new tokens", request,
                  new_tokens);
    for (const auto& other : pass.requests)
      if (other.request == request)
        return fail(Errc::kInvalidArgument, "batch: request {} stands twice", request);
    if (past + new_tokens > INT32_MAX)
      return fail(Errc::kInvalidArgument, "batch: request {} would be {} tokens long", request,
                  past + new_tokens);
    const auto index = static_cast<std::int32_t>(pass.requests.size());
    pass.requests.push_back(
        {.request = request, .first_token = pass.tokens, .new_tokens = new_tokens, .past = past});
    for (std::int64_t i = 0; i < new_tokens; ++i) {
      pass.position.push_back(static_cast<std::int32_t>(past + i));
      pass.visible.push_back(static_cast<std::int32_t>(past + i + 1));
      pass.request_of.push_back(index);
    }
    pass.tokens += new_tokens;
    if (longest > 0 && past + new_tokens > longest)
      return fail(Errc::kInvalidArgument,
                  "batch: request {} is {} tokens long, {} were planned for", request,
                  past + new_tokens, longest);
    pass.longest = std::max(pass.longest, past + new_tokens);
    if (new_tokens != pass.uniform_q_len) pass.uniform_q_len = 0;
  }
  if (pass.uniform_q_len > 8) pass.uniform_q_len = 0;
  pass.dense = pass.longest <= spec.topk;
  pass.selected = static_cast<int>(std::min<std::int64_t>(spec.topk, pass.longest));
  pass.block_table_stride = ceil_div(pass.longest, kPageTokens);
  pass.stages = stages(spec, pass.dense);
  return pass;
}

Result<void> add(Backend& backend, ForwardPass& pass, const char* name, DType type,
                 std::vector<std::int64_t> shape) {
  Tensor tensor{.type = type, .shape = std::move(shape)};
  DSAPERF_TRY_ASSIGN(tensor.buffer, backend.allocate(tensor.elements() * size_of(type)));
  pass.tensors.emplace(name, std::move(tensor));
  return {};
}

template <typename T>
Result<void> add_uploaded(Backend& backend, ForwardPass& pass, const char* name, DType type,
                          std::vector<std::int64_t> shape, std::span<const T> values) {
  DSAPERF_TRY(add(backend, pass, name, type, std::move(shape)));
  return backend.upload(values.data(), values.size_bytes(), pass.at(name).buffer.data());
}

// Scores of as many tokens at a time as the budget holds, and the keys of a request where they are
// gathered for it.
Result<void> add_scores(Backend& backend, ForwardPass& pass, std::int64_t score_bytes) {
  const std::int64_t row_bytes = 4 * padded(pass.longest);
  const std::int64_t at_least = std::max(pass.uniform_q_len, 1);
  const std::int64_t rows = std::min(score_bytes / row_bytes, pass.tokens);
  if (rows < at_least)
    return fail(Errc::kInvalidArgument,
                "batch: {} bytes for scores are less than the {} that {} of {} tokens need",
                score_bytes, at_least * row_bytes,
                at_least == 1 ? "a row" : "the rows of a request", pass.longest);
  DSAPERF_TRY(add(backend, pass, "scores_scratch", DType::kF32, {rows, padded(pass.longest)}));
  if (pass.uniform_q_len > 0) return {};
  DSAPERF_TRY(add(backend, pass, "gathered_keys", DType::kE4m3, {pass.longest, kIndexDim}));
  return add(backend, pass, "gathered_scales", DType::kF32, {pass.longest});
}

Result<void> add_activations(Backend& backend, ForwardPass& pass, bool fp8,
                             std::int64_t score_bytes) {
  const LayerSpec& spec = pass.spec;
  const std::int64_t n = pass.tokens;
  const auto bf16 = [&](const char* name, std::vector<std::int64_t> shape) {
    return add(backend, pass, name, DType::kBf16, std::move(shape));
  };
  DSAPERF_TRY(bf16("qkv_a", {n, spec.qkv_a_columns().all}));
  DSAPERF_TRY(bf16("q_r", {n, spec.q_lora}));
  DSAPERF_TRY(bf16("latent", {n, kLatentDim}));
  DSAPERF_TRY(bf16("k_rope", {n, kRopeDim}));
  DSAPERF_TRY(bf16("q", {n, spec.heads, spec.query_dim()}));
  DSAPERF_TRY(bf16("query", {n, spec.heads, kKeyDim}));
  if (const std::int64_t pages = bf16_pages_at_once(pass); pages > 0)
    DSAPERF_TRY(bf16("bf16_rows_scratch", {pages * kPageTokens, kKeyDim}));
  DSAPERF_TRY(bf16("latent_out", {n, spec.heads, kLatentDim}));
  DSAPERF_TRY(bf16("v_out", {n, spec.heads, spec.v}));
  DSAPERF_TRY(bf16("y", {n, spec.hidden}));
  DSAPERF_TRY(add(backend, pass, "lse", DType::kF32, {n, spec.heads}));
  DSAPERF_TRY(add(backend, pass, "selection", DType::kI32, {n, pass.selected}));
  DSAPERF_TRY(add(backend, pass, "selection_rows", DType::kI32, {n, pass.selected}));
  if (spec.has_indexer) {
    DSAPERF_TRY(bf16("index_key", {n, kIndexDim}));
    DSAPERF_TRY(add(backend, pass, "index_key_e4m3", DType::kE4m3, {n, kIndexDim}));
    DSAPERF_TRY(add(backend, pass, "index_key_scale", DType::kF32, {n}));
  }
  if (spec.has_indexer && !pass.dense) {
    DSAPERF_TRY(bf16("index_query", {n, spec.index_heads, kIndexDim}));
    DSAPERF_TRY(
        add(backend, pass, "index_query_e4m3", DType::kE4m3, {n, spec.index_heads, kIndexDim}));
    DSAPERF_TRY(add(backend, pass, "head_weight", DType::kF32, {n, spec.index_heads}));
    DSAPERF_TRY(add(backend, pass, "head_weight_scaled", DType::kF32, {n, spec.index_heads}));
    if (n > 0) DSAPERF_TRY(add_scores(backend, pass, score_bytes));
  }
  if (fp8) {
    const auto quantised = [&](const char* values, const char* scales,
                               std::int64_t columns) -> Result<void> {
      DSAPERF_TRY(add(backend, pass, values, DType::kE4m3, {n, columns}));
      return add(backend, pass, scales, DType::kF32, {n, scale_groups(columns)});
    };
    const std::int64_t widest = std::max(spec.hidden, spec.heads * spec.v);
    DSAPERF_TRY(quantised("x_e4m3", "x_scales", widest));
    DSAPERF_TRY(quantised("q_r_e4m3", "q_r_scales", spec.q_lora));
  }
  return {};
}

// Lists of the dense regime: every visible position.
std::vector<std::int32_t> everything(const ForwardPass& pass) {
  std::vector<std::int32_t> selection(pass.tokens * pass.selected, -1);
  for (std::int64_t t = 0; t < pass.tokens; ++t)
    for (std::int32_t i = 0; i < pass.visible[t]; ++i) selection[t * pass.selected + i] = i;
  return selection;
}

// What the pass knows of lengths, from its host copies to the tensors that kernels read.
Result<void> upload_lengths(Backend& backend, const ForwardPass& pass) {
  std::vector<std::int32_t> context;
  for (const auto& request : pass.requests)
    context.push_back(static_cast<std::int32_t>(request.context()));
  const auto upload = [&](const char* name, const auto& values) {
    return backend.upload(values.data(), values.size() * sizeof(values[0]),
                          pass.at(name).buffer.data());
  };
  DSAPERF_TRY(upload("score_end", pass.visible));
  DSAPERF_TRY(upload("context", context));
  DSAPERF_TRY(upload("block_table", pass.block_table));
  DSAPERF_TRY(upload("slots", pass.slot));
  if (!pass.row_table.empty()) {
    DSAPERF_TRY(upload("row_table", pass.row_table));
    DSAPERF_TRY(upload("bf16_pages", pass.bf16_pages));
  }
  return upload("rope_table", pass.rope_table);
}

Result<void> add_plan(Backend& backend, ForwardPass& pass) {
  const std::int64_t n = pass.tokens;
  const auto requests = static_cast<std::int64_t>(pass.requests.size());
  std::vector<std::int32_t> table_row(n);
  for (std::int64_t t = 0; t < n; ++t) table_row[t] = static_cast<std::int32_t>(t);
  const std::vector<std::int32_t> zeros(n, 0);
  const auto i32 = [&](const char* name, const std::vector<std::int32_t>& values) {
    return add_uploaded<std::int32_t>(backend, pass, name, DType::kI32, {n}, values);
  };
  DSAPERF_TRY(i32("rope_row", table_row));
  DSAPERF_TRY(i32("score_start", zeros));
  DSAPERF_TRY(i32("request_of", pass.request_of));
  DSAPERF_TRY(add(backend, pass, "score_end", DType::kI32, {n}));
  DSAPERF_TRY(add(backend, pass, "context", DType::kI32, {requests}));
  DSAPERF_TRY(add(backend, pass, "block_table", DType::kI32, {requests, pass.block_table_stride}));
  if (!pass.row_table.empty()) {
    DSAPERF_TRY(add(backend, pass, "row_table", DType::kI32, {requests, pass.block_table_stride}));
    DSAPERF_TRY(add(backend, pass, "bf16_pages", DType::kI32,
                    {static_cast<std::int64_t>(pass.bf16_pages.size())}));
  }
  DSAPERF_TRY(add(backend, pass, "slots", DType::kI64, {n}));
  DSAPERF_TRY(add(backend, pass, "rope_table", DType::kF32, {n, kRopeDim}));
  return upload_lengths(backend, pass);
}

// Tables of pages, padded with page 0, which is always there to be read.
Result<void> set_block_table(const CacheManager& cache, ForwardPass& pass) {
  pass.block_table.clear();
  for (const auto& request : pass.requests) {
    DSAPERF_TRY_ASSIGN(const auto pages, cache.pool().block_table(request.request));
    pass.block_table.insert(pass.block_table.end(), pages.begin(), pages.end());
    pass.block_table.resize(pass.block_table.size() + pass.block_table_stride - pages.size(), 0);
  }
  set_attention_pages(pass);
  return {};
}

Result<void> check_x(const ForwardPass& pass, std::span<const std::uint16_t> x) {
  const std::int64_t needed = pass.tokens * pass.spec.hidden;
  if (static_cast<std::int64_t>(x.size()) == needed) return {};
  return fail(Errc::kInvalidArgument, "batch: x has {} values, {} tokens of {} need {}", x.size(),
              pass.tokens, pass.spec.hidden, needed);
}

// A selection that was handed in: as many positions as planned, each visible to its token, or -1.
Result<void> check_selection(const LayerSpec& spec, const ForwardPass& pass,
                             std::span<const std::int32_t> selection,
                             std::span<const std::int32_t> visible) {
  if (spec.has_indexer)
    return fail(Errc::kInvalidArgument, "batch: the layer has an indexer and takes no selection");
  if (pass.dense) return {};  // nothing is selected
  if (selection.size() != visible.size() * pass.selected)
    return fail(Errc::kInvalidArgument,
                "batch: a layer without an indexer needs a selection of {} x {}, got {} values",
                visible.size(), pass.selected, selection.size());
  for (std::size_t t = 0; t < visible.size(); ++t)
    for (const std::int32_t position : selection.subspan(t * pass.selected, pass.selected))
      if (position < -1 || position >= visible[t])
        return fail(Errc::kInvalidArgument,
                    "batch: token {} selects position {} of the {} that it sees", t, position,
                    visible[t]);
  return {};
}

// Of the dense regime or handed in; where top-k makes it, nothing.
Result<void> upload_selection(Backend& backend, const ForwardPass& pass,
                              std::span<const std::int32_t> selection) {
  const auto all = pass.dense ? everything(pass) : std::vector<std::int32_t>();
  const auto lists = pass.dense ? std::span<const std::int32_t>(all) : selection;
  return backend.upload(lists.data(), lists.size_bytes(), pass.at("selection").i32());
}

void set_rope_table(ForwardPass& pass) {
  pass.rope_table =
      kernels::rope_table(kernels::rope_frequencies(pass.spec.rope, kRopeDim), pass.position);
}

}  // namespace

Bytes DsaLayer::weight_bytes() const {
  std::size_t bytes = kv_b_.bf16.bytes() + iw_.bf16.bytes();  // these two multiply in bf16 always
  for (const auto* projection : {&qkv_a_, &q_b_, &o_, &iq_}) {
    const bool fp8 = projection->fp8.data() != nullptr;
    bytes += fp8 ? projection->fp8.bytes() + projection->scales.bytes() : projection->bf16.bytes();
  }
  return Bytes{static_cast<std::int64_t>(bytes)};
}

bool DsaLayer::quantises() const {
  const auto is_fp8 = [](const Projection* each) { return each->fp8.data() != nullptr; };
  return std::ranges::any_of(std::array{&qkv_a_, &q_b_, &o_, &iq_}, is_fp8);
}

Result<DsaLayer> DsaLayer::create(Backend& backend, const LayerSpec& spec,
                                  const LayerWeights& weights) {
  DSAPERF_TRY(check_spec(spec));
  DsaLayer layer(backend, spec);
  const std::int64_t heads = spec.heads;
  const auto set = [&](Projection& target, const char* name, const Matrix& matrix,
                       std::int64_t rows, std::int64_t columns) -> Result<void> {
    DSAPERF_TRY_ASSIGN(target, projection(backend, name, matrix, rows, columns));
    return {};
  };
  DSAPERF_TRY_ASSIGN(layer.qkv_a_, qkv_a_projection(backend, spec, weights));
  DSAPERF_TRY(set(layer.q_b_, "q_b", weights.q_b, heads * spec.query_dim(), spec.q_lora));
  DSAPERF_TRY(set(layer.kv_b_, "kv_b", weights.kv_b, heads * (spec.nope + spec.v), kLatentDim));
  DSAPERF_TRY(set(layer.o_, "o", weights.o, spec.hidden, heads * spec.v));
  DSAPERF_TRY_ASSIGN(layer.q_a_norm_,
                     vector_of(backend, "q_a_norm", weights.q_a_norm, spec.q_lora));
  DSAPERF_TRY_ASSIGN(layer.kv_a_norm_,
                     vector_of(backend, "kv_a_norm", weights.kv_a_norm, kLatentDim));
  if (!spec.has_indexer) return layer;
  DSAPERF_TRY(
      set(layer.iq_, "iq", weights.iq, std::int64_t{spec.index_heads} * kIndexDim, spec.q_lora));
  DSAPERF_TRY(set(layer.iw_, "iw", weights.iw, spec.index_heads, spec.hidden));
  DSAPERF_TRY_ASSIGN(layer.k_norm_, vector_of(backend, "k_norm", weights.k_norm, kIndexDim));
  DSAPERF_TRY_ASSIGN(layer.k_norm_bias_,
                     vector_of(backend, "k_norm_bias", weights.k_norm_bias, kIndexDim));
  return layer;
}

Result<ForwardPass> DsaLayer::prepare(CacheManager& cache, std::span<const BatchRequest> requests,
                                      std::span<const std::uint16_t> x,
                                      std::span<const std::int32_t> selection,
                                      const PassOptions& options) const {
  if (spec_.has_indexer && !cache.options().index_keys)
    return fail(Errc::kInvalidArgument, "batch: the layer has an indexer, the cache no index keys");
  DSAPERF_TRY_ASSIGN(auto pass, plan(spec_, cache, requests, options.longest));
  plan_attention(*backend_, cache.options().kv, options, pass);
  const bool later = options.inputs_later && x.empty() && selection.empty();
  if (!later) DSAPERF_TRY(check_x(pass, x));
  if (!later && (spec_.has_indexer ? !selection.empty() : !pass.dense))
    DSAPERF_TRY(check_selection(spec_, pass, selection, pass.visible));
  // Everything that can run out of memory comes before the caches change.
  DSAPERF_TRY(add_activations(*backend_, pass, quantises(), options.score_bytes));
  DSAPERF_TRY(add_uploaded<std::uint16_t>(*backend_, pass, "x", DType::kBf16,
                                          {pass.tokens, spec_.hidden}, x));
  DSAPERF_TRY(upload_selection(*backend_, pass, selection));
  set_rope_table(pass);

  DSAPERF_TRY_ASSIGN(pass.slot, cache.append(requests));
  DSAPERF_TRY(set_block_table(cache, pass));
  DSAPERF_TRY(add_plan(*backend_, pass));
  DSAPERF_TRY(backend_->synchronise());
  return pass;
}

Result<void> DsaLayer::advance(ForwardPass& pass, CacheManager& cache,
                               std::span<const std::uint16_t> x,
                               std::span<const std::int32_t> selection) const {
  if (!pass.lengths_change)
    return fail(Errc::kInvalidArgument, "batch: the pass was planned for one length alone");
  if (!x.empty()) DSAPERF_TRY(check_x(pass, x));
  std::vector<BatchRequest> requests;
  auto position = pass.position;
  auto visible = pass.visible;
  for (const auto& request : pass.requests) {
    DSAPERF_TRY_ASSIGN(const std::int64_t past, cache.pool().length(request.request));
    if (past + request.new_tokens > pass.longest)
      return fail(Errc::kInvalidArgument,
                  "batch: request {} would be {} tokens long, {} were planned for", request.request,
                  past + request.new_tokens, pass.longest);
    requests.push_back({.request = request.request, .new_tokens = request.new_tokens});
    for (std::int64_t i = 0; i < request.new_tokens; ++i) {
      position[request.first_token + i] = static_cast<std::int32_t>(past + i);
      visible[request.first_token + i] = static_cast<std::int32_t>(past + i + 1);
    }
  }
  if (!selection.empty()) DSAPERF_TRY(check_selection(spec_, pass, selection, visible));

  DSAPERF_TRY_ASSIGN(pass.slot, cache.append(requests));
  pass.position = std::move(position);
  pass.visible = std::move(visible);
  for (auto& request : pass.requests)
    if (request.new_tokens > 0) request.past = pass.position[request.first_token];
  set_rope_table(pass);
  DSAPERF_TRY(set_block_table(cache, pass));
  DSAPERF_TRY(upload_lengths(*backend_, pass));
  if (!x.empty()) DSAPERF_TRY(backend_->upload(x.data(), x.size_bytes(), pass.at("x").bf16()));
  return upload_selection(*backend_, pass, selection);
}

Result<void> DsaLayer::keep_scores(ForwardPass& pass, std::span<const std::int64_t> tokens) const {
  for (const std::int64_t token : tokens) {
    if (token < 0 || token >= pass.tokens)
      return fail(Errc::kInvalidArgument, "batch: token {} is none of {}", token, pass.tokens);
    pass.kept_scores[token] = {};
  }
  if (!pass.has("scores_scratch")) return {};
  pass.tensors.erase("kept_scores_scratch");
  return add(*backend_, pass, "kept_scores_scratch", DType::kF32,
             {static_cast<std::int64_t>(pass.kept_scores.size()), pass.longest});
}

Result<void> DsaLayer::fetch_scores(ForwardPass& pass) const {
  if (!pass.has("kept_scores_scratch")) return {};
  const float* row = pass.at("kept_scores_scratch").f32();
  for (auto& [token, scores] : pass.kept_scores) {
    scores.resize(pass.visible[token]);
    DSAPERF_TRY(backend_->download(row, scores.size() * 4, scores.data()));
    row += pass.longest;
  }
  return {};
}

Result<ForwardPass> DsaLayer::subset(Backend& from, const ForwardPass& pass,
                                     std::span<const std::int64_t> tokens) const {
  ForwardPass part;
  part.spec = spec_;
  part.tokens = static_cast<std::int64_t>(tokens.size());
  part.longest = pass.longest;
  part.dense = pass.dense;
  part.selected = pass.selected;
  part.uniform_q_len = 1;
  part.stages = pass.stages;
  part.attention_parts = {{.requests = tokens.size(), .tokens = part.tokens}};
  part.block_table_stride = pass.block_table_stride;
  for (const std::int64_t t : tokens) {
    const auto row = static_cast<std::int32_t>(part.requests.size());
    const auto& request = pass.requests[pass.request_of[t]];
    part.requests.push_back({.request = request.request,
                             .first_token = row,
                             .new_tokens = 1,
                             .past = pass.position[t]});
    part.position.push_back(pass.position[t]);
    part.visible.push_back(pass.visible[t]);
    part.request_of.push_back(row);
    part.slot.push_back(pass.slot[t]);
    const auto table = pass.block_table.begin() + pass.request_of[t] * pass.block_table_stride;
    part.block_table.insert(part.block_table.end(), table, table + pass.block_table_stride);
    const auto cosines = pass.rope_table.begin() + t * kRopeDim;
    part.rope_table.insert(part.rope_table.end(), cosines, cosines + kRopeDim);
  }
  // All scores at once: a check compares them.
  DSAPERF_TRY(
      add_activations(*backend_, part, quantises(), part.tokens * 4 * padded(part.longest)));
  std::vector<std::uint16_t> x(tokens.size() * spec_.hidden);
  std::vector<std::int32_t> selection(tokens.size() * pass.selected);
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    DSAPERF_TRY(from.download(pass.at("x").bf16() + tokens[i] * spec_.hidden, 2 * spec_.hidden,
                              &x[i * spec_.hidden]));
    DSAPERF_TRY(from.download(pass.at("selection").i32() + tokens[i] * pass.selected,
                              4 * pass.selected, &selection[i * pass.selected]));
  }
  DSAPERF_TRY(add_uploaded<std::uint16_t>(*backend_, part, "x", DType::kBf16,
                                          {part.tokens, spec_.hidden}, x));
  DSAPERF_TRY(backend_->upload(selection.data(), selection.size() * 4, part.at("selection").i32()));
  DSAPERF_TRY(add_plan(*backend_, part));
  return part;
}

}  // namespace dsaperf::op
