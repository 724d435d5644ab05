#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/pass_model.hpp"

namespace dsaperf::serving {
namespace {

bool has_geometry(const model::AttentionGeometry& g, int hidden, int nope, int v) {
  return g.hidden == hidden && g.kv_lora == 512 && g.rope == 64 && g.nope == nope && g.v == v;
}

}  // namespace

Result<ModelShape> ModelShape::of(const model::ModelSpec& spec) {
  const model::LayerPlan& layer = model::typical_layer(spec);
  ModelShape shape;
  if (layer.attention == model::AttentionKind::kDsa &&
      has_geometry(layer.geometry, 7168, 128, 128)) {
    shape.architecture = "DeepseekV32ForCausalLM";
  } else if (layer.attention == model::AttentionKind::kDsa &&
             has_geometry(layer.geometry, 6144, 192, 256)) {
    shape.architecture = "GlmMoeDsaForCausalLM";
  } else if (layer.attention == model::AttentionKind::kMla &&
             has_geometry(layer.geometry, 7168, 128, 128)) {
    shape.attention = Attention::kMla;
    shape.architecture = "DeepseekV3ForCausalLM";
  } else {
    return fail(Errc::kUnsupported,
                "{}: no tables for its attention ({}, hidden {}); there are those of "
                "DeepSeek-V3.2, GLM-5 and "
                "DeepSeek-V3",
                spec.name, model::name(layer.attention), spec.hidden);
  }
  if (spec.moe.routed_experts == 0)
    return fail(Errc::kUnsupported,
                "{}: no mixture of experts; the operator list is that of an MoE model", spec.name);
  int full = 0;
  for (const model::LayerPlan* main : model::main_attention_layers(spec)) {
    if (main->indexer_role == model::IndexerRole::kFull) ++full;
    if (main->mlp == model::MlpKind::kDense) ++shape.dense_layers;
  }
  shape.layers = spec.main_layers;
  shape.heads = spec.heads;
  shape.hidden = spec.hidden;
  shape.head_dim = spec.facts.head_dim.value_or(spec.hidden / spec.heads);
  shape.dense_inter = spec.intermediate;
  shape.moe_inter = spec.moe.intermediate;
  shape.topk = spec.moe.experts_per_token;
  shape.experts = spec.moe.routed_experts;
  shape.vocab = spec.vocab;
  shape.mtp_layers = spec.mtp_layers;
  if (shape.attention == Attention::kDsa)
    shape.full_layer_share = static_cast<double>(full) / shape.layers;
  return shape;
}

}  // namespace dsaperf::serving
