#include "dsaperf/model/layer_plan.hpp"

namespace dsaperf::model {

std::vector<Stage> stages_of(const LayerPlan& layer, bool dense_regime) {
  std::vector<Stage> stages;
  if (layer.attention != AttentionKind::kDsa && layer.attention != AttentionKind::kMla)
    return stages;
  const bool has_indexer = layer.indexer_role == IndexerRole::kFull;
  for (const Stage stage : all_stages()) {
    if (is_selection(stage) && (!has_indexer || dense_regime)) continue;
    if (stage == Stage::kIndexCacheWrite && !has_indexer) continue;
    stages.push_back(stage);
  }
  return stages;
}

}  // namespace dsaperf::model
