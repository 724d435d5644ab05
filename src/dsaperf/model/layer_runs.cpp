#include "dsaperf/model/layer_runs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

namespace dsaperf::model {
namespace {

auto key_of(const LayerPlan& layer) {
  const auto& g = layer.geometry;
  return std::tuple(layer.is_mtp, layer.attention, layer.indexer_role, layer.mlp,
                    layer.compress_ratio, layer.kv_source >= 0, g.heads, g.kv_heads, g.kv_lora,
                    g.head_dim, g.window);
}

bool same(const LayerPlan& a, const LayerPlan& b) {
  return key_of(a) == key_of(b);
}

std::string in_turn(const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t i = 0; i < names.size();) {
    std::size_t end = i;
    while (end < names.size() && names[end] == names[i]) ++end;
    if (!text.empty()) text += ", ";
    text += end - i > 1 ? fmt::format("{} x {}", end - i, names[i]) : names[i];
    i = end;
  }
  return text + (names.size() > 1 ? " in turn" : "");
}

std::vector<std::string> attention_names(const LayerRun& run) {
  std::vector<std::string> names;
  names.reserve(run.pattern.size());
  for (const auto* layer : run.pattern) names.push_back(short_name(*layer));
  return names;
}

bool all_equal(const std::vector<std::string>& names) {
  return std::all_of(names.begin(), names.end(),
                     [&](const auto& each) { return each == names.front(); });
}

std::string ordinal(std::size_t n) {
  return n == 2 ? "2nd" : n == 3 ? "3rd" : fmt::format("{}th", n);
}

// "full every 4th (6, 10, ...), else shared".
std::string indexer_text(const LayerRun& run) {
  const auto has = [&](IndexerRole role) {
    return std::any_of(run.pattern.begin(), run.pattern.end(),
                       [&](const auto* layer) { return layer->indexer_role == role; });
  };
  if (!has(IndexerRole::kShared)) return "";
  if (!has(IndexerRole::kFull)) return ", selection shared";
  std::vector<std::size_t> full;
  for (std::size_t i = 0; i < run.pattern.size(); ++i) {
    if (run.pattern[i]->indexer_role == IndexerRole::kFull) full.push_back(i);
  }
  if (full.size() == 1) {
    return fmt::format(", indexer full every {} from {}, else shared", ordinal(run.pattern.size()),
                       run.first + static_cast<int>(full.front()));
  }
  return fmt::format(", indexer full in {} of every {}", full.size(), run.pattern.size());
}

}  // namespace

std::vector<LayerRun> layer_runs(const ModelSpec& spec) {
  const auto& layers = spec.layers;
  const auto n = layers.size();
  constexpr std::size_t kMaxPattern = 8;
  std::vector<LayerRun> runs;
  for (std::size_t begin = 0; begin < n;) {
    std::size_t best_period = 1;
    std::size_t best_length = 1;
    for (std::size_t period = 1; period <= kMaxPattern && begin + period <= n; ++period) {
      std::size_t length = period;
      while (begin + length < n && same(layers[begin + length], layers[begin + length - period])) {
        ++length;
      }
      const bool repeats = period == 1 || length >= 2 * period;
      if (repeats && length > best_length) {
        best_period = period;
        best_length = length;
      }
    }
    LayerRun run{.first = static_cast<int>(begin),
                 .last = static_cast<int>(begin + best_length - 1),
                 .pattern = {}};
    for (std::size_t i = 0; i < best_period; ++i) run.pattern.push_back(&layers[begin + i]);
    runs.push_back(std::move(run));
    begin += best_length;
  }
  return runs;
}

std::string describe_attention(const LayerRun& run) {
  const auto names = attention_names(run);
  const auto kinds = all_equal(names) ? names.front() : in_turn(names);
  return kinds + indexer_text(run);
}

std::string describe_mlp(const LayerRun& run) {
  std::vector<std::string> names;
  for (const auto* layer : run.pattern) {
    switch (layer->mlp) {
      case MlpKind::kDense:
        names.emplace_back("dense MLP");
        break;
      case MlpKind::kMoe:
        names.emplace_back("MoE");
        break;
      case MlpKind::kDenseAndMoe:
        names.emplace_back("dense MLP with MoE");
        break;
      case MlpKind::kNone:
        names.emplace_back("no MLP");
        break;
    }
  }
  return all_equal(names) ? names.front() : in_turn(names);
}

std::string short_name(const LayerPlan& layer) {
  switch (layer.attention) {
    case AttentionKind::kNone:
      return "no attention";
    case AttentionKind::kGqa:
      return "GQA";
    case AttentionKind::kMla:
      return "MLA";
    case AttentionKind::kSlidingWindow:
      return fmt::format("window {}", layer.geometry.window);
    case AttentionKind::kLinear:
      return "linear";
    case AttentionKind::kDsa:
      return "DSA";
    case AttentionKind::kPooledDsa:
      return fmt::format("DSA, keys pooled by {}", layer.indexer->pool);
    case AttentionKind::kCompressedSparse:
      return fmt::format("CSA {}", layer.compress_ratio);
    case AttentionKind::kHeavilyCompressed:
      return fmt::format("HCA {}", layer.compress_ratio);
    case AttentionKind::kBlockSparse:
      return "MSA";
    case AttentionKind::kLightningSparse:
      return "LSA";
    case AttentionKind::kBudgetSparse:
      return "QSA";
  }
  return "unknown";
}

}  // namespace dsaperf::model
