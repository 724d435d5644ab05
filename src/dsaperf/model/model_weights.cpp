#include "dsaperf/model/model_weights.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <array>

namespace dsaperf::model {
namespace {

// Adds matrices to parts. `shards` divides the rows (or columns) over ranks; 1: each rank has all.
class PartSum {
 public:
  PartSum(std::vector<PartWeights>& parts, bool is_mtp) : parts_(parts), is_mtp_(is_mtp) {}

  void matrix(WeightPart part, std::int64_t rows, std::int64_t columns, WeightFormat format,
              int shards = 1) {
    auto& sum = part_of(part);
    sum.parameters += rows * columns;
    sum.active_parameters += rows * columns;
    sum.bytes += matrix_bytes(rows, columns, format);
    sum.rank_bytes += matrix_bytes(ceil_div(rows, shards), columns, format);
  }

  void vector(WeightPart part, std::int64_t size) { matrix(part, 1, size, WeightFormat::kBf16); }

  // `experts` copies of [rows, columns], of which a token uses `active`; experts over ep, rows over
  // moe_tp.
  void experts(std::int64_t rows, std::int64_t columns, WeightFormat format, std::int64_t experts,
               std::int64_t active, const Parallel& parallel) {
    auto& sum = part_of(WeightPart::kRoutedExperts);
    sum.parameters += experts * rows * columns;
    sum.active_parameters += active * rows * columns;
    sum.bytes += matrix_bytes(rows, columns, format) * experts;
    sum.rank_bytes += matrix_bytes(ceil_div(rows, parallel.moe_tp), columns, format) *
                      ceil_div(experts, parallel.ep);
  }

 private:
  PartWeights& part_of(WeightPart part) {
    for (auto& known : parts_) {
      if (known.part == part && known.is_mtp == is_mtp_) return known;
    }
    parts_.push_back({.part = part, .is_mtp = is_mtp_});
    return parts_.back();
  }

  std::vector<PartWeights>& parts_;
  bool is_mtp_;
};

using enum WeightPart;

void add_indexer(const LayerPlan& layer, PartSum& sum) {
  if (layer.indexer_role != IndexerRole::kFull || !layer.indexer) return;
  const auto& g = layer.geometry;
  const auto& indexer = *layer.indexer;
  const auto format = layer.formats.indexer;
  const std::int64_t query_width = std::int64_t{indexer.heads} * indexer.dim;
  // Every rank holds the whole indexer.
  sum.matrix(kIndexer, query_width, g.q_lora > 0 ? g.q_lora : g.hidden, format);
  sum.matrix(kIndexer, indexer.dim, g.hidden, format);
  const bool weighs_heads = layer.attention != AttentionKind::kBlockSparse &&
                            layer.attention != AttentionKind::kBudgetSparse;
  if (weighs_heads) sum.matrix(kIndexer, indexer.heads, g.hidden, WeightFormat::kBf16);
  sum.vector(kIndexer, 2L * indexer.dim);  // LayerNorm of the key
}

void add_latent_attention(const LayerPlan& layer, const Parallel& parallel, PartSum& sum) {
  const auto& g = layer.geometry;
  const auto& formats = layer.formats;
  const std::int64_t query_width = std::int64_t{g.heads} * (g.nope + g.rope);
  if (g.q_lora > 0) {
    sum.matrix(kAttention, g.q_lora, g.hidden, formats.q_a);
    sum.vector(kNorms, g.q_lora);
  }
  sum.matrix(kAttention, query_width, g.q_lora > 0 ? g.q_lora : g.hidden, formats.q_b, parallel.tp);
  if (layer.kv_source < 0) {
    sum.matrix(kAttention, g.kv_lora + g.rope, g.hidden, formats.kv_a);
    sum.vector(kNorms, g.kv_lora);
  }
  sum.matrix(kAttention, std::int64_t{g.heads} * (g.nope + g.v), g.kv_lora, formats.kv_b,
             parallel.tp);
  const std::int64_t value_width = std::int64_t{g.heads} * g.v;
  if (g.output_gate) sum.matrix(kAttention, value_width, g.hidden, formats.q_b, parallel.tp);
  sum.matrix(kAttention, value_width, g.hidden, formats.o, parallel.tp);
}

// DeepSeek-V4: one key that is the value too, a low-rank output in groups, and where the layer
// compresses, two projections that pool tokens (twice as wide at ratio 4, whose windows overlap).
void add_compressed_attention(const LayerPlan& layer, const Parallel& parallel, PartSum& sum) {
  const auto& g = layer.geometry;
  const auto& formats = layer.formats;
  sum.matrix(kAttention, g.q_lora, g.hidden, formats.q_a);
  sum.matrix(kAttention, std::int64_t{g.heads} * g.head_dim, g.q_lora, formats.q_b, parallel.tp);
  sum.matrix(kAttention, g.head_dim, g.hidden, formats.kv_a);
  if (g.o_groups > 0) {
    const std::int64_t low = std::int64_t{g.o_groups} * g.o_lora;
    sum.matrix(kAttention, low, std::int64_t{g.heads} * g.head_dim / g.o_groups, formats.o,
               parallel.tp);
    sum.matrix(kAttention, low, g.hidden, formats.o, parallel.tp);
  } else {
    sum.matrix(kAttention, std::int64_t{g.heads} * g.head_dim, g.hidden, formats.o, parallel.tp);
  }
  sum.vector(kNorms, g.q_lora + g.head_dim + g.heads);
  if (layer.compress_ratio == 0 || layer.kv_source >= 0) return;
  const std::int64_t overlap = layer.compress_ratio == 4 ? 2 : 1;
  sum.matrix(kAttention, 2 * overlap * g.head_dim, g.hidden, WeightFormat::kBf16);
  if (layer.indexer_role == IndexerRole::kFull) {
    sum.matrix(kIndexer, 2 * overlap * layer.indexer->dim, g.hidden, WeightFormat::kBf16);
  }
}

void add_grouped_attention(const LayerPlan& layer, const Parallel& parallel, PartSum& sum) {
  const auto& g = layer.geometry;
  const auto& formats = layer.formats;
  const int kv_shards = std::clamp(parallel.tp, 1, std::max(g.kv_heads, 1));
  const std::int64_t query_width = std::int64_t{g.heads} * g.head_dim * (g.output_gate ? 2 : 1);
  sum.matrix(kAttention, query_width, g.hidden, formats.q_b, parallel.tp);
  sum.matrix(kAttention, std::int64_t{g.kv_heads} * g.head_dim, g.hidden, formats.kv_a, kv_shards);
  sum.matrix(kAttention, std::int64_t{g.kv_heads} * g.v, g.hidden, formats.kv_b, kv_shards);
  sum.matrix(kAttention, std::int64_t{g.heads} * g.v, g.hidden, formats.o, parallel.tp);
}

// Queries, keys, values and a gate of the values' width in, the values' width out.
void add_linear_attention(const LayerPlan& layer, const Parallel& parallel, PartSum& sum) {
  const auto& g = layer.geometry;
  const auto linear = layer.linear.value_or(LinearGeometry{});
  const std::int64_t key_width = std::int64_t{linear.key_heads} * linear.key_dim;
  const std::int64_t value_width = std::int64_t{linear.value_heads} * linear.value_dim;
  sum.matrix(kAttention, 2 * key_width + 2 * value_width, g.hidden, layer.formats.q_b, parallel.tp);
  sum.matrix(kAttention, value_width, g.hidden, layer.formats.o, parallel.tp);
}

bool is_compressed_family(const LayerPlan& layer) {
  return layer.attention == AttentionKind::kCompressedSparse ||
         layer.attention == AttentionKind::kHeavilyCompressed ||
         (layer.attention == AttentionKind::kSlidingWindow && layer.geometry.o_groups > 0);
}

void add_attention(const LayerPlan& layer, const Parallel& parallel, PartSum& sum) {
  if (layer.attention == AttentionKind::kNone) return;
  if (layer.attention == AttentionKind::kLinear) {
    add_linear_attention(layer, parallel, sum);
  } else if (is_compressed_family(layer)) {
    add_compressed_attention(layer, parallel, sum);
  } else if (has_latent_cache(layer)) {
    add_latent_attention(layer, parallel, sum);
  } else {
    add_grouped_attention(layer, parallel, sum);
  }
  add_indexer(layer, sum);
}

void add_mlp(const ModelSpec& spec, const LayerPlan& layer, const Parallel& parallel,
             PartSum& sum) {
  const auto& formats = layer.mlp_formats;
  const auto& moe = spec.moe;
  const std::int64_t hidden = spec.hidden;
  if (layer.mlp == MlpKind::kDense || layer.mlp == MlpKind::kDenseAndMoe) {
    for (int i = 0; i < 3; ++i) {
      sum.matrix(kDenseMlp, spec.intermediate, hidden, formats.dense, parallel.tp);
    }
  }
  if (layer.mlp != MlpKind::kMoe && layer.mlp != MlpKind::kDenseAndMoe) return;
  sum.matrix(kRouter, moe.routed_experts + moe.zero_experts, hidden, WeightFormat::kBf16);
  if (moe.expert_hidden != spec.hidden) {  // a projection to the experts' width and back
    for (int i = 0; i < 2; ++i) {
      sum.matrix(kRouter, moe.expert_hidden, hidden, WeightFormat::kBf16);
    }
  }
  for (int i = 0; i < 3; ++i) {
    sum.experts(moe.intermediate, moe.expert_hidden, formats.experts, moe.routed_experts,
                moe.experts_per_token, parallel);
    if (moe.shared_intermediate > 0) {
      sum.matrix(kSharedExperts, moe.shared_intermediate, hidden, formats.shared, parallel.tp);
    }
  }
}

void add_layer(const ModelSpec& spec, const LayerPlan& layer, const Parallel& parallel,
               std::vector<PartWeights>& parts) {
  PartSum sum(parts, layer.is_mtp);
  add_attention(layer, parallel, sum);
  add_mlp(spec, layer, parallel, sum);
  sum.vector(kNorms, 2L * spec.hidden);
  if (!layer.is_mtp) return;
  sum.matrix(kDraft, spec.hidden, 2L * spec.hidden, WeightFormat::kBf16);
  sum.vector(kDraft, 3L * spec.hidden);
}

// Layers whose projections are known to the last weight.
bool is_exact(const LayerPlan& layer) {
  switch (layer.attention) {
    case AttentionKind::kNone:
    case AttentionKind::kGqa:
    case AttentionKind::kMla:
    case AttentionKind::kDsa:
    case AttentionKind::kSlidingWindow:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string_view name(WeightPart part) {
  switch (part) {
    case kEmbedding:
      return "embedding";
    case kAttention:
      return "attention";
    case kIndexer:
      return "indexer";
    case kDenseMlp:
      return "dense_mlp";
    case kRoutedExperts:
      return "routed_experts";
    case kSharedExperts:
      return "shared_experts";
    case kRouter:
      return "router";
    case kNorms:
      return "norms";
    case kDraft:
      return "draft";
    case kLmHead:
      return "lm_head";
  }
  return "unknown";
}

PartWeights& PartWeights::operator+=(const PartWeights& other) {
  parameters += other.parameters;
  active_parameters += other.active_parameters;
  bytes += other.bytes;
  rank_bytes += other.rank_bytes;
  return *this;
}

Bytes matrix_bytes(std::int64_t rows, std::int64_t columns, WeightFormat format) {
  const std::int64_t values = rows * columns;
  switch (format) {
    case WeightFormat::kBf16:
      return {2 * values};
    case WeightFormat::kFp8Block:
      return {values + 4 * ceil_div(rows, 128) * ceil_div(columns, 128)};
    case WeightFormat::kFp8:
    case WeightFormat::kInt8:
      return {values + 4 * rows};
    case WeightFormat::kNvfp4:
      return {ceil_div(values, 2) + rows * ceil_div(columns, 16)};
    case WeightFormat::kMxfp4:
      return {ceil_div(values, 2) + rows * ceil_div(columns, 32)};
    case WeightFormat::kInt4:
      return {ceil_div(values, 2) + 2 * rows * ceil_div(columns, 128)};
    case WeightFormat::kMxfp8:
      return {values + rows * ceil_div(columns, 32)};
  }
  return {2 * values};
}

Result<void> check_parallel(const ModelSpec& spec, const Parallel& parallel) {
  if (parallel.ep >= 1 && parallel.moe_tp == 0) {
    return fail(Errc::kInvalidArgument, "tp {} * dp {} ranks are not divisible by ep {}",
                parallel.tp, parallel.dp, parallel.ep);
  }
  if (parallel.tp < 1 || parallel.dp < 1 || parallel.ep < 1 || parallel.moe_tp < 1 ||
      std::int64_t{parallel.ep} * parallel.moe_tp != std::int64_t{parallel.tp} * parallel.dp) {
    return fail(Errc::kInvalidArgument,
                "tp {} * dp {} ranks are not ep {} * moe-tp {}: the same ranks hold attention and "
                "experts",
                parallel.tp, parallel.dp, parallel.ep, parallel.moe_tp);
  }
  for (const auto& layer : spec.layers) {
    if (layer.attention == AttentionKind::kLinear || layer.attention == AttentionKind::kNone) {
      continue;
    }
    if (layer.geometry.heads % parallel.tp != 0) {
      return fail(Errc::kInvalidArgument,
                  "num_attention_heads {} of layer {} is not divisible by tp {}",
                  layer.geometry.heads, layer.index, parallel.tp);
    }
  }
  const auto& moe = spec.moe;
  if (moe.routed_experts == 0) return {};
  if (moe.routed_experts % parallel.ep != 0) {
    return fail(Errc::kInvalidArgument, "{} routed experts are not divisible by ep {}",
                moe.routed_experts, parallel.ep);
  }
  if (moe.intermediate % parallel.moe_tp != 0) {
    return fail(Errc::kInvalidArgument, "the experts' width {} is not divisible by moe-tp {}",
                moe.intermediate, parallel.moe_tp);
  }
  return {};
}

std::vector<PartWeights> layer_weights(const ModelSpec& spec, const LayerPlan& layer,
                                       const Parallel& parallel) {
  std::vector<PartWeights> parts;
  add_layer(spec, layer, parallel, parts);
  return parts;
}

ModelWeights model_weights(const ModelSpec& spec, const Parallel& parallel) {
  ModelWeights weights;
  weights.approximate = spec.has_uncounted_parts;
  for (const auto& layer : spec.layers) {
    add_layer(spec, layer, parallel, weights.parts);
    weights.approximate = weights.approximate || !is_exact(layer);
  }
  PartSum sum(weights.parts, false);
  sum.matrix(kEmbedding, spec.vocab, spec.hidden, WeightFormat::kBf16, parallel.tp);
  if (!spec.tied_embeddings) {
    sum.matrix(kLmHead, spec.vocab, spec.hidden, spec.lm_head, parallel.tp);
  }
  sum.vector(kNorms, spec.hidden);
  std::sort(weights.parts.begin(), weights.parts.end(), [](const auto& a, const auto& b) {
    return std::pair(a.is_mtp, a.part) < std::pair(b.is_mtp, b.part);
  });
  return weights;
}

PartWeights total(const ModelWeights& weights, bool with_mtp) {
  PartWeights sum;
  for (const auto& part : weights.parts) {
    if (with_mtp || !part.is_mtp) sum += part;
  }
  return sum;
}

}  // namespace dsaperf::model
