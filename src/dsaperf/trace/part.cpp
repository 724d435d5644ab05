#include "dsaperf/trace/part.hpp"

#include <algorithm>

namespace dsaperf::trace {
namespace {

struct Words {
  std::string_view name;
  std::string_view title;
};

constexpr std::array<Words, kPartCount> kWords = {{
    {"gemm", "GEMM (projections, dense and shared experts, router)"},
    {"norm", "norm"},
    {"rope_cache_write", "rope, query concat, KV quantise and cache write"},
    {"indexer_quantise", "indexer quantise, Hadamard, key-cache write and gather"},
    {"indexer_scores", "indexer scores"},
    {"topk", "indexer top-k"},
    {"attention", "sparse attention"},
    {"attention_combine", "sparse attention combine"},
    {"attention_dense", "dense attention"},
    {"activation_quantise", "activation quantise (GEMM inputs)"},
    {"moe", "MoE experts"},
    {"moe_router", "MoE router and its top-k"},
    {"mlp", "dense MLP activation"},
    {"all_reduce", "all-reduce and other communication"},
    {"sampling", "sampling"},
    {"embedding", "embedding"},
    {"elementwise", "elementwise"},
    {"copy", "copies and casts"},
    {"fill", "fills and masks"},
    {"other", "other (scheduling, indices, scans)"},
    {"unclassified", "unclassified"},
}};

}  // namespace

std::string_view name(Part part) {
  return kWords[static_cast<std::size_t>(part)].name;
}

std::string_view title(Part part) {
  return kWords[static_cast<std::size_t>(part)].title;
}

std::optional<Part> part_from_name(std::string_view name) {
  const auto* found = std::find_if(kWords.begin(), kWords.end(),
                                   [&](const Words& words) { return words.name == name; });
  if (found == kWords.end()) return std::nullopt;
  return static_cast<Part>(found - kWords.begin());
}

const std::array<Part, kPartCount>& all_parts() {
  static constexpr auto kAll = [] {
    std::array<Part, kPartCount> all{};
    for (int i = 0; i < kPartCount; ++i) all[static_cast<std::size_t>(i)] = static_cast<Part>(i);
    return all;
  }();
  return kAll;
}

Part part_of(model::Stage stage) {
  using model::Stage;
  switch (stage) {
    case Stage::kQkvAProjection:
    case Stage::kQBProjection:
    case Stage::kAbsorb:
    case Stage::kIndexerProjection:
    case Stage::kVUp:
    case Stage::kOProjection:
      return Part::kGemm;
    case Stage::kNormRope:
      return Part::kNorm;
    case Stage::kCacheWrite:
      return Part::kRopeCacheWrite;
    case Stage::kIndexerQuantise:
    case Stage::kIndexCacheWrite:
      return Part::kIndexerQuantise;
    case Stage::kIndexerScores:
      return Part::kIndexerScores;
    case Stage::kTopk:
      return Part::kTopk;
    case Stage::kAttention:
      return Part::kAttention;
  }
  return Part::kUnclassified;
}

bool in_attention_layer(Part part) {
  return part <= Part::kActivationQuantise;
}

bool is_selection(Part part) {
  return part == Part::kIndexerQuantise || part == Part::kIndexerScores || part == Part::kTopk;
}

std::string_view group(Part part) {
  switch (part) {
    case Part::kSampling:
    case Part::kEmbedding:
    case Part::kElementwise:
    case Part::kCopy:
    case Part::kFill:
    case Part::kOther:
      return "other";
    case Part::kMlp:
      return "moe";
    default:
      return name(part);
  }
}

std::string_view name(Phase phase) {
  switch (phase) {
    case Phase::kPrefill:
      return "prefill";
    case Phase::kDecode:
      return "decode";
    case Phase::kUnknown:
      break;
  }
  return "unknown";
}

std::optional<Phase> phase_from_name(std::string_view text) {
  for (const Phase phase : {Phase::kUnknown, Phase::kPrefill, Phase::kDecode}) {
    if (name(phase) == text) return phase;
  }
  return std::nullopt;
}

}  // namespace dsaperf::trace
