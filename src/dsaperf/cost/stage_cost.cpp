#include "dsaperf/cost/stage_cost.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <numeric>

namespace dsaperf::cost {
namespace {

using model::IndexerRole;
using model::Stage;
using model::WeightFormat;

constexpr double kBf16Bytes = 2;
constexpr double kF32Bytes = 4;
constexpr double kIndexBytes = 4;

// A dense product [tokens, in] x [in, out].
void add_gemm(StageCost& cost, double tokens, double in, double out, WeightFormat format) {
  cost.flops[static_cast<std::size_t>(math_format(format))] += 2 * tokens * in * out;
  cost.traffic.weights += in * out * bytes_per_weight(format);
  cost.traffic.activations += tokens * (in + out) * kBf16Bytes;
}

// A fp8 or fp4 GEMM quantises its input in a kernel of its own.
int gemm_launches(WeightFormat format) {
  return math_format(format) == MathFormat::kBf16 ? 1 : 2;
}

struct Inputs {
  const model::LayerPlan& layer;
  const Shape& shape;
  const Work& work;
  const model::AttentionGeometry& g;
  double heads;

  bool expanded() const { return shape.dense == DenseAttention::kExpanded && work.any_dense(); }
  // Tokens whose queries are absorbed: all but those of expanded requests.
  double absorbed_tokens() const { return expanded() ? work.selecting_tokens : work.tokens; }
};

StageCost qkv_a_projection(const Inputs& in) {
  StageCost cost;
  const auto& [layer, shape, work, g, heads] = in;
  if (g.q_lora > 0) add_gemm(cost, work.tokens, g.hidden, g.q_lora, layer.formats.q_a);
  add_gemm(cost, work.tokens, g.hidden, g.kv_lora + g.rope, layer.formats.kv_a);
  if (layer.indexer_role == IndexerRole::kFull) {
    add_gemm(cost, work.tokens, g.hidden, layer.indexer->dim, layer.formats.indexer);
    add_gemm(cost, work.tokens, g.hidden, layer.indexer->heads, WeightFormat::kBf16);
  }
  // One fused GEMM reads its input once.
  const int parts = (g.q_lora > 0 ? 2 : 1) + (layer.indexer_role == IndexerRole::kFull ? 2 : 0);
  cost.traffic.activations -= (parts - 1) * work.tokens * g.hidden * kBf16Bytes;
  cost.launches = gemm_launches(layer.formats.kv_a);
  return cost;
}

StageCost norm_rope(const Inputs& in) {
  StageCost cost;
  cost.traffic.activations =
      2 * in.work.tokens * (in.g.q_lora + in.g.kv_lora + in.g.rope) * kBf16Bytes;
  cost.launches = 1;
  return cost;
}

StageCost q_b_projection(const Inputs& in) {
  StageCost cost;
  const double input = in.g.q_lora > 0 ? in.g.q_lora : in.g.hidden;
  add_gemm(cost, in.work.tokens, input, in.heads * (in.g.nope + in.g.rope), in.layer.formats.q_b);
  cost.launches = gemm_launches(in.layer.formats.q_b);
  return cost;
}

// W_UK and W_UV, batched over heads: of absorbed queries and outputs, or of every visible row where
// the latents are expanded to keys and values.
StageCost per_head_projection(const Inputs& in, double width) {
  StageCost cost;
  const double rows = in.absorbed_tokens() + (in.expanded() ? in.work.dense_rows : 0);
  const WeightFormat format = in.layer.formats.kv_b;
  cost.flops[static_cast<std::size_t>(math_format(format))] =
      2 * rows * in.heads * width * in.g.kv_lora;
  cost.traffic.weights = in.heads * width * in.g.kv_lora * bytes_per_weight(format);
  cost.traffic.activations = in.absorbed_tokens() * in.heads * (width + in.g.kv_lora) * kBf16Bytes;
  if (in.expanded())
    cost.traffic.activations += in.work.dense_rows * (in.g.kv_lora + in.heads * width) * kBf16Bytes;
  cost.launches = 1;
  return cost;
}

StageCost cache_write(const Inputs& in) {
  StageCost cost;
  cost.traffic.activations = in.work.tokens * (in.g.kv_lora + in.g.rope) * kBf16Bytes;
  cost.traffic.kv_cache = in.work.tokens * kv_row_bytes(in.g, in.shape.kv);
  cost.launches = 1;
  return cost;
}

StageCost indexer_projection(const Inputs& in) {
  StageCost cost;
  const double input = in.g.q_lora > 0 ? in.g.q_lora : in.g.hidden;
  const auto& indexer = *in.layer.indexer;
  add_gemm(cost, in.work.selecting_tokens, input, indexer.heads * indexer.dim,
           in.layer.formats.indexer);
  cost.launches = gemm_launches(in.layer.formats.indexer);
  return cost;
}

StageCost indexer_quantise(const Inputs& in) {
  StageCost cost;
  const auto& indexer = *in.layer.indexer;
  const double values = in.work.selecting_tokens * indexer.heads * indexer.dim;
  // The rotation is a product with a constant [dim, dim] matrix.
  cost.flops[static_cast<std::size_t>(MathFormat::kBf16)] = 2 * values * indexer.dim;
  cost.traffic.activations = values * (kBf16Bytes + 1 + kF32Bytes / indexer.dim);
  cost.launches = 1;
  return cost;
}

StageCost index_cache_write(const Inputs& in) {
  StageCost cost;
  const auto& indexer = *in.layer.indexer;
  cost.traffic.activations = in.work.tokens * indexer.dim * kBf16Bytes;
  cost.traffic.index_cache = in.work.tokens / indexer.pool * index_row_bytes(indexer);
  cost.launches = 1;
  return cost;
}

StageCost indexer_scores(const Inputs& in) {
  StageCost cost;
  const auto& indexer = *in.layer.indexer;
  cost.flops[static_cast<std::size_t>(MathFormat::kFp8)] =
      2.0 * indexer.heads * indexer.dim * in.work.scored_pairs;
  cost.traffic.activations = in.work.selecting_tokens * indexer.heads * (indexer.dim + kF32Bytes);
  cost.traffic.index_cache = in.work.scored_rows * index_row_bytes(indexer);
  cost.traffic.scores = in.work.scored_pairs * kF32Bytes;
  cost.launches = 1;
  return cost;
}

StageCost topk(const Inputs& in) {
  StageCost cost;
  cost.traffic.scores = in.work.scored_pairs * kF32Bytes;
  cost.traffic.activations = in.work.selecting_tokens * in.layer.indexer->topk * kIndexBytes;
  cost.launches = 1;
  return cost;
}

StageCost attention(const Inputs& in) {
  StageCost cost;
  const auto& g = in.g;
  const double absorbed_width = 2 * g.kv_lora + g.rope;  // key 576, value 512
  const double expanded_width = g.nope + g.rope + g.v;   // per-head keys and values
  const double absorbed_pairs = in.work.sparse_pairs + (in.expanded() ? 0 : in.work.dense_pairs);
  const double expanded_pairs = in.expanded() ? in.work.dense_pairs : 0;
  cost.flops[static_cast<std::size_t>(MathFormat::kBf16)] =
      2 * in.heads * (absorbed_width * absorbed_pairs + expanded_width * expanded_pairs);

  const double row = kv_row_bytes(g, in.shape.kv);
  const double expanded_rows = in.expanded() ? in.work.dense_rows : 0;
  const double expanded_tokens = in.work.tokens - in.absorbed_tokens();
  cost.traffic.kv_cache = (in.work.distinct_rows - expanded_rows) * row;
  cost.gathered_bytes = absorbed_pairs * row;
  cost.traffic.activations =
      in.heads * (in.absorbed_tokens() * (absorbed_width * kBf16Bytes + kF32Bytes) +
                  expanded_tokens * ((g.nope + g.rope + g.v) * kBf16Bytes + kF32Bytes)) +
      expanded_rows * (in.heads * (g.nope + g.v) + g.rope) * kBf16Bytes +
      (in.layer.indexer ? in.work.selecting_tokens * in.layer.indexer->topk * kIndexBytes : 0);
  cost.launches = (in.work.any_sparse() && in.expanded()) ? 2 : 1;
  return cost;
}

StageCost o_projection(const Inputs& in) {
  StageCost cost;
  add_gemm(cost, in.work.tokens, in.heads * in.g.v, in.g.hidden, in.layer.formats.o);
  cost.launches = gemm_launches(in.layer.formats.o);
  return cost;
}

StageCost cost_of(Stage stage, const Inputs& in) {
  switch (stage) {
    case Stage::kQkvAProjection:
      return qkv_a_projection(in);
    case Stage::kNormRope:
      return norm_rope(in);
    case Stage::kQBProjection:
      return q_b_projection(in);
    case Stage::kAbsorb:
      return per_head_projection(in, in.g.nope);
    case Stage::kCacheWrite:
      return cache_write(in);
    case Stage::kIndexerProjection:
      return indexer_projection(in);
    case Stage::kIndexerQuantise:
      return indexer_quantise(in);
    case Stage::kIndexCacheWrite:
      return index_cache_write(in);
    case Stage::kIndexerScores:
      return indexer_scores(in);
    case Stage::kTopk:
      return topk(in);
    case Stage::kAttention:
      return attention(in);
    case Stage::kVUp:
      return per_head_projection(in, in.g.v);
    case Stage::kOProjection:
      return o_projection(in);
  }
  return {};
}

}  // namespace

std::string_view name(MathFormat format) {
  switch (format) {
    case MathFormat::kBf16:
      return "bf16";
    case MathFormat::kFp8:
      return "fp8";
    case MathFormat::kInt8:
      return "int8";
    case MathFormat::kFp4:
      return "fp4";
  }
  return "";
}

MathFormat math_format(WeightFormat format) {
  switch (format) {
    case WeightFormat::kFp8Block:
    case WeightFormat::kFp8:
    case WeightFormat::kMxfp8:
      return MathFormat::kFp8;
    case WeightFormat::kNvfp4:
      return MathFormat::kFp4;
    case WeightFormat::kInt8:
      return MathFormat::kInt8;
    case WeightFormat::kBf16:
    case WeightFormat::kMxfp4:
    case WeightFormat::kInt4:
      return MathFormat::kBf16;
  }
  return MathFormat::kBf16;
}

double bytes_per_weight(WeightFormat format) {
  switch (format) {
    case WeightFormat::kBf16:
      return 2;
    case WeightFormat::kFp8Block:
      return 1 + 4.0 / (128 * 128);
    case WeightFormat::kFp8:
    case WeightFormat::kInt8:
      return 1;
    case WeightFormat::kNvfp4:
      return 0.5 + 1.0 / 16;
    case WeightFormat::kMxfp8:
      return 1 + 1.0 / 32;
    case WeightFormat::kMxfp4:
      return 0.5 + 1.0 / 32;
    case WeightFormat::kInt4:
      return 0.5 + 2.0 / 128;
  }
  return 2;
}

double kv_row_bytes(const model::AttentionGeometry& geometry, model::KvFormat kv) {
  if (kv == model::KvFormat::kBf16) return (geometry.kv_lora + geometry.rope) * kBf16Bytes;
  return geometry.kv_lora + kF32Bytes * geometry.kv_lora / 128 + geometry.rope * kBf16Bytes;
}

double index_row_bytes(const model::IndexerGeometry& indexer) {
  return indexer.dim + kF32Bytes;
}

Flops StageCost::total_flops() const {
  return {std::accumulate(flops.begin(), flops.end(), 0.0)};
}

const StageCost* LayerCost::find(Stage stage) const {
  for (const StageCost& cost : stages())
    if (cost.stage == stage) return &cost;
  return nullptr;
}

Flops LayerCost::total_flops() const {
  Flops sum;
  for (const StageCost& cost : stages()) sum += cost.total_flops();
  return sum;
}

double LayerCost::total_bytes() const {
  double sum = 0;
  for (const StageCost& cost : stages()) sum += cost.traffic.total();
  return sum;
}

int LayerCost::launches() const {
  int sum = 0;
  for (const StageCost& cost : stages()) sum += cost.launches;
  return sum;
}

Result<LayerCost> layer_cost(const model::LayerPlan& layer, const Shape& shape) {
  const bool sparse = layer.attention == model::AttentionKind::kDsa;
  if (!sparse && layer.attention != model::AttentionKind::kMla)
    return fail(Errc::kUnsupported, "layer {}: its attention is not a list of DSA or MLA stages",
                layer.index);
  const auto& g = layer.geometry;
  if (g.hidden <= 0 || g.kv_lora <= 0 || shape.heads <= 0 || (g.heads > 0 && shape.heads > g.heads))
    return fail(Errc::kInvalidArgument, "layer {}: {} heads a rank of {}, hidden {}, kv_lora {}",
                layer.index, shape.heads, g.heads, g.hidden, g.kv_lora);
  if (sparse && (!layer.indexer || layer.indexer->topk <= 0 || layer.indexer->dim <= 0))
    return fail(Errc::kInvalidArgument, "layer {}: sparse attention without an indexer's sizes",
                layer.index);

  LayerCost cost;
  DSAPERF_TRY_ASSIGN(cost.work_, work_of(shape, sparse ? layer.indexer->topk : 0,
                                         sparse ? layer.indexer->pool : 1));
  if (cost.work_.tokens == 0) return cost;
  const Inputs inputs{layer, shape, cost.work_, g, static_cast<double>(shape.heads)};
  for (const Stage stage : model::all_stages()) {
    const bool own_indexer = sparse && layer.indexer_role == IndexerRole::kFull;
    if (model::is_selection(stage) && !(own_indexer && cost.work_.any_sparse())) continue;
    if (stage == Stage::kIndexCacheWrite && !own_indexer) continue;
    StageCost& entry = cost.stages_[cost.count_++];
    entry = cost_of(stage, inputs);
    entry.stage = stage;
  }
  return cost;
}

}  // namespace dsaperf::cost
