#include "dsaperf/predict/stages/usual_layer.hpp"

#include <algorithm>

namespace dsaperf::predict::stages {

Result<UsualLayer> UsualLayer::make(const perfdb::SystemFile& system, const LayerKind& kind,
                                    perfdb::Phase phase) {
  UsualLayer layer;
  layer.phase_ = phase;
  for (const Regime regime : {Regime::kDense, Regime::kSparse}) {
    for (const bool own_indexer : {true, false}) {
      DSAPERF_TRY_ASSIGN(layer.settings_[static_cast<std::size_t>(regime)][own_indexer ? 0 : 1],
                         make_setting(system, kind, phase, regime, own_indexer));
    }
  }
  return layer;
}

UsualLayer::Stages UsualLayer::stages_of(const LayerShape& shape) const {
  const Sizes sizes{.heads = static_cast<double>(shape.heads),
                    .batch = static_cast<double>(shape.batch),
                    .new_tokens = static_cast<double>(shape.new_tokens),
                    .past_tokens = static_cast<double>(shape.past_tokens)};
  const auto& full = settings_.front().front();
  const Regime regime = sizes.total() <= full.topk ? Regime::kDense : Regime::kSparse;
  const auto list = terms(phase_, regime);
  Stages out;
  const std::array<double, 2> weights = {shape.full_layer_share, 1 - shape.full_layer_share};
  for (std::size_t kind = 0; kind < weights.size(); ++kind) {
    const double weight = weights[kind] / std::max(shape.context_parallel, 1);
    if (weight <= 0) continue;
    const auto& setting = settings_[static_cast<std::size_t>(regime)][kind];
    const auto values = term_values(setting, sizes);
    for (std::size_t i = 0; i < list.size(); ++i) {
      const auto at = list[i].stage ? static_cast<std::size_t>(*list[i].stage) : model::kStageCount;
      out.usual_ms[at] += weight * list[i].usual * values[i];
    }
    const auto bounds = stage_bounds(setting, sizes);
    for (std::size_t i = 0; i < bounds.size(); ++i) {
      out.bound[i].math_ms += weight * bounds[i].math_ms;
      out.bound[i].memory_ms += weight * bounds[i].memory_ms;
    }
  }
  return out;
}

std::vector<UsualLayer::Share> UsualLayer::split(const LayerShape& shape, double layer_ms) const {
  const auto stages = stages_of(shape);
  double bounded = 0;
  double excess = 0;
  for (std::size_t i = 0; i < stages.bound.size(); ++i) {
    bounded += stages.bound[i].ms();
    excess += std::max(stages.usual_ms[i] - stages.bound[i].ms(), 0.0);
  }
  // A layer that beats the sum of the bounds has them scaled. One that takes longer than the stages
  // usually do waits for launches.
  const double squeeze = bounded > layer_ms ? layer_ms / bounded : 1;
  const double beyond = layer_ms - bounded * squeeze;
  const double grow = excess > 0 ? std::min(beyond / excess, 1.0) : 0;
  std::vector<Share> shares;
  for (const auto stage : model::all_stages()) {
    const auto i = static_cast<std::size_t>(stage);
    const double ms = stages.bound[i].ms() * squeeze +
                      grow * std::max(stages.usual_ms[i] - stages.bound[i].ms(), 0.0);
    if (ms > 0)
      shares.push_back(
          {.stage = std::string(model::name(stage)), .ms = ms, .bound = stages.bound[i]});
  }
  if (const double waits = beyond - grow * excess; waits > 0)
    shares.push_back({.stage = "launches", .ms = waits, .bound = {}});
  return shares;
}

}  // namespace dsaperf::predict::stages
