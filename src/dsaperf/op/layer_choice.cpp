#include "dsaperf/op/layer_choice.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"

namespace dsaperf::op {

Result<const model::LayerPlan*> layer_plan(const model::ModelSpec& model, int layer) {
  if (layer == -1) return &model::typical_layer(model);
  if (layer < 0 || layer >= static_cast<int>(model.layers.size()))
    return fail(Errc::kInvalidArgument, "{} has no attention layer {}; they are 0 ... {}",
                model.name, layer, model.layers.size() - 1);
  return &model.layers[layer];
}

Result<LayerSpec> layer_spec(const model::ModelSpec& model, const LayerChoice& choice) {
  DSAPERF_TRY_ASSIGN(const model::LayerPlan* const plan, layer_plan(model, choice.layer));
  const model::AttentionGeometry& sizes = plan->geometry;
  if (plan->attention != model::AttentionKind::kDsa || !plan->indexer)
    return fail(Errc::kUnsupported, "{}: layer {} is {}: only DSA layers run here", model.name,
                plan->index, model::name(plan->attention));
  const model::IndexerGeometry& indexer = *plan->indexer;
  if (sizes.kv_lora != kernels::kLatentDim || sizes.rope != kernels::kRopeDim)
    return fail(Errc::kUnsupported, "{}: latent {} and rope {}: the kernels have {} and {} only",
                model.name, sizes.kv_lora, sizes.rope, kernels::kLatentDim, kernels::kRopeDim);
  if (sizes.q_lora == 0)
    return fail(Errc::kUnsupported, "{}: queries without a low-rank projection", model.name);
  if (plan->indexer_role == model::IndexerRole::kFull && indexer.dim != kernels::kIndexDim)
    return fail(Errc::kUnsupported, "{}: index dimension {}: the kernels have {} only", model.name,
                indexer.dim, kernels::kIndexDim);
  const int heads = choice.heads == 0 ? sizes.heads : choice.heads;
  if (heads < 1 || heads > sizes.heads || sizes.heads % heads != 0)
    return fail(Errc::kInvalidArgument, "{}: {} heads do not divide the model's {}", model.name,
                heads, sizes.heads);

  const model::RopeSpec& rope = model.rope;
  if (rope.type != "default" && rope.type != "yarn")
    return fail(Errc::kUnsupported, "{}: rope of type '{}'", model.name, rope.type);
  const bool yarn = rope.type == "yarn";
  return LayerSpec{
      .layer = plan->index,
      .hidden = sizes.hidden,
      .heads = heads,
      .q_lora = sizes.q_lora,
      .nope = sizes.nope,
      .v = sizes.v,
      .has_indexer = plan->indexer_role == model::IndexerRole::kFull,
      .index_heads = indexer.heads,
      .topk = indexer.topk,
      .index_rope = indexer.rope_pairing == model::RopePairing::kInterleaved
                        ? kernels::RopePairs::kInterleaved
                        : kernels::RopePairs::kHalfSplit,
      .rope = {.theta = rope.theta,
               .factor = yarn ? rope.factor : 1,
               .original_positions =
                   yarn && rope.original_max_positions > 0 ? rope.original_max_positions : 4096,
               .beta_fast = rope.beta_fast,
               .beta_slow = rope.beta_slow},
      .softmax_scale = static_cast<float>(sizes.softmax_scale),
      .norm_eps = static_cast<float>(model.rms_eps),
      .projections = choice.projections,
  };
}

}  // namespace dsaperf::op
