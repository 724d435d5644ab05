#pragma once

#include "dsaperf/model/layer_plan.hpp"

// Layers of known models, for tests of this module and of those above it.
namespace dsaperf::cost::testing {

inline model::LayerPlan deepseek_v32() {
  constexpr auto kFp8 = model::WeightFormat::kFp8Block;
  return {.attention = model::AttentionKind::kDsa,
          .indexer_role = model::IndexerRole::kFull,
          .mlp = model::MlpKind::kMoe,
          .geometry = {.hidden = 7168,
                       .heads = 128,
                       .q_lora = 1536,
                       .kv_lora = 512,
                       .nope = 128,
                       .rope = 64,
                       .v = 128},
          .indexer = model::IndexerGeometry{.heads = 64, .dim = 128, .topk = 2048},
          .formats = {
              .q_a = kFp8, .kv_a = kFp8, .q_b = kFp8, .kv_b = kFp8, .o = kFp8, .indexer = kFp8}};
}

inline model::LayerPlan shared_selection() {
  auto layer = deepseek_v32();
  layer.indexer_role = model::IndexerRole::kShared;
  return layer;
}

inline model::LayerPlan deepseek_v3() {
  auto layer = deepseek_v32();
  layer.attention = model::AttentionKind::kMla;
  layer.indexer_role = model::IndexerRole::kNone;
  layer.indexer.reset();
  return layer;
}

}  // namespace dsaperf::cost::testing
