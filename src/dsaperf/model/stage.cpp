#include "dsaperf/model/stage.hpp"

#include <algorithm>

namespace dsaperf::model {
namespace {

constexpr std::array<std::string_view, kStageCount> kNames = {
    "qkv_a_projection", "norm_rope",
    "q_b_projection",   "absorb",
    "cache_write",      "indexer_projection",
    "indexer_quantise", "index_cache_write",
    "indexer_scores",   "topk",
    "attention",        "v_up",
    "o_projection"};

}  // namespace

std::string_view name(Stage stage) {
  return kNames[static_cast<std::size_t>(stage)];
}

std::optional<Stage> stage_from_name(std::string_view name) {
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) return std::nullopt;
  return static_cast<Stage>(found - kNames.begin());
}

const std::array<Stage, kStageCount>& all_stages() {
  static constexpr auto kAll = [] {
    std::array<Stage, kStageCount> all{};
    for (int i = 0; i < kStageCount; ++i) all[static_cast<std::size_t>(i)] = static_cast<Stage>(i);
    return all;
  }();
  return kAll;
}

bool is_selection(Stage stage) {
  return stage == Stage::kIndexerProjection || stage == Stage::kIndexerQuantise ||
         stage == Stage::kIndexerScores || stage == Stage::kTopk;
}

}  // namespace dsaperf::model
