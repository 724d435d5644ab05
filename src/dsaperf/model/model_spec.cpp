#include "dsaperf/model/model_spec.hpp"

#include <algorithm>

namespace dsaperf::model {

std::vector<const LayerPlan*> main_attention_layers(const ModelSpec& spec) {
  std::vector<const LayerPlan*> layers;
  for (const auto& layer : spec.layers) {
    if (!layer.is_mtp) layers.push_back(&layer);
  }
  return layers;
}

const LayerPlan& typical_layer(const ModelSpec& spec) {
  const LayerPlan* sparse = nullptr;
  for (const auto& layer : spec.layers) {
    if (!is_sparse(layer.attention)) continue;
    if (layer.indexer_role == IndexerRole::kFull) return layer;
    if (sparse == nullptr) sparse = &layer;
  }
  if (sparse != nullptr) return *sparse;
  const auto full = std::find_if(spec.layers.begin(), spec.layers.end(), [](const auto& layer) {
    return layer.attention == AttentionKind::kMla || layer.attention == AttentionKind::kGqa;
  });
  return full != spec.layers.end() ? *full : spec.layers.front();
}

bool is_sparse(const ModelSpec& spec) {
  return std::any_of(spec.layers.begin(), spec.layers.end(),
                     [](const auto& layer) { return is_sparse(layer.attention); });
}

}  // namespace dsaperf::model
