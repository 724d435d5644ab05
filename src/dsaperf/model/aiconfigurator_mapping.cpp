#include "dsaperf/model/aiconfigurator_mapping.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

namespace dsaperf::model {
namespace {

struct KnownArchitecture {
  std::string_view name;
  std::string_view family;
};

// Of aiconfigurator_core 0.12.0, sdk/common.py.
constexpr std::array kArchitectures = {
    KnownArchitecture{"LlamaForCausalLM", "LLAMA"},
    KnownArchitecture{"Qwen2ForCausalLM", "LLAMA"},
    KnownArchitecture{"Qwen3ForCausalLM", "LLAMA"},
    KnownArchitecture{"MiMoForCausalLM", "LLAMA"},
    KnownArchitecture{"Qwen3VLForConditionalGeneration", "QWEN3VL"},
    KnownArchitecture{"Qwen3VLMoeForConditionalGeneration", "QWEN3VL_MOE"},
    KnownArchitecture{"DeepSeekForCausalLM", "DEEPSEEK"},
    KnownArchitecture{"DeepseekV3ForCausalLM", "DEEPSEEK"},
    KnownArchitecture{"DeepseekV32ForCausalLM", "DEEPSEEKV32"},
    KnownArchitecture{"GlmMoeDsaForCausalLM", "DEEPSEEKV32"},
    KnownArchitecture{"DeepseekV4ForCausalLM", "DEEPSEEKV4"},
    KnownArchitecture{"KimiK25ForConditionalGeneration", "KIMIK25"},
    KnownArchitecture{"KimiK3ForConditionalGeneration", "KIMIK3"},
    KnownArchitecture{"NemotronForCausalLM", "NEMOTRONNAS"},
    KnownArchitecture{"DeciLMForCausalLM", "NEMOTRONNAS"},
    KnownArchitecture{"NemotronHForCausalLM", "NEMOTRONH"},
    KnownArchitecture{"MixtralForCausalLM", "MOE"},
    KnownArchitecture{"GptOssForCausalLM", "MOE"},
    KnownArchitecture{"Qwen2MoeForCausalLM", "MOE"},
    KnownArchitecture{"Qwen3MoeForCausalLM", "MOE"},
    KnownArchitecture{"MiniMaxM2ForCausalLM", "MOE"},
    KnownArchitecture{"MiniMaxM3ForCausalLM", "MINIMAXM3"},
    KnownArchitecture{"MiniMaxM3SparseForConditionalGeneration", "MINIMAXM3"},
    KnownArchitecture{"Step3p7ForConditionalGeneration", "STEP3P7"},
    KnownArchitecture{"Step3p5ForCausalLM", "STEP3P7"},
    KnownArchitecture{"Step3p7FlashForCausalLM", "STEP3P7"},
    KnownArchitecture{"Step3p5FlashForCausalLM", "STEP3P7"},
    KnownArchitecture{"MiMoV2FlashForCausalLM", "HYBRIDMOE"},
    KnownArchitecture{"Llama4ForConditionalGeneration", "HYBRIDMOE"},
    KnownArchitecture{"Qwen3_5ForConditionalGeneration", "QWEN35"},
    KnownArchitecture{"Qwen3_5MoeForConditionalGeneration", "QWEN35"},
    KnownArchitecture{"Gemma4ForConditionalGeneration", "GEMMA4MIX"},
};

// The sizes its DSA operations assume by architecture: they carry the name alone.
struct AssumedSizes {
  std::string_view architecture;
  int hidden, heads, q_lora, kv_lora, nope, rope, v, index_heads, index_dim, topk;
};
constexpr std::array kDsaSizes = {
    AssumedSizes{"DeepseekV32ForCausalLM", 7168, 128, 1536, 512, 128, 64, 128, 64, 128, 2048},
    AssumedSizes{"GlmMoeDsaForCausalLM", 6144, 64, 2048, 512, 192, 64, 256, 32, 128, 2048},
};

void add_once(std::vector<std::string>& list, std::string_view item) {
  if (std::find(list.begin(), list.end(), item) == list.end()) list.emplace_back(item);
}

void add_operations(AttentionKind kind, AiconfiguratorMapping& mapping) {
  const auto add = [&](std::string_view context, std::string_view generation) {
    add_once(mapping.context_operations, context);
    add_once(mapping.generation_operations, generation);
  };
  switch (kind) {
    case AttentionKind::kNone:
      return;
    case AttentionKind::kGqa:
    case AttentionKind::kSlidingWindow:
      return add("ContextAttention", "GenerationAttention");
    case AttentionKind::kMla:
      add("MLAModule", "MLAModule");
      return add("ContextMLA", "GenerationMLA");
    case AttentionKind::kLinear:
      return add("GDNKernel or KDAKernel", "GDNKernel or KDAKernel");
    case AttentionKind::kDsa:
      return add("ContextDSAModule", "GenerationDSAModule");
    case AttentionKind::kCompressedSparse:
    case AttentionKind::kHeavilyCompressed:
      return add("ContextDeepSeekV4AttentionModule", "GenerationDeepSeekV4AttentionModule");
    case AttentionKind::kBlockSparse:
      return add("ContextMSAModule", "GenerationMSAModule");
    case AttentionKind::kPooledDsa:
    case AttentionKind::kLightningSparse:
    case AttentionKind::kBudgetSparse:
      return;  // it has none
  }
}

void compare_sizes(const ModelSpec& spec, AiconfiguratorMapping& mapping) {
  const auto known = std::find_if(kDsaSizes.begin(), kDsaSizes.end(), [&](const auto& sizes) {
    return sizes.architecture == mapping.architecture;
  });
  const auto& layer = typical_layer(spec);
  if (known == kDsaSizes.end() || !layer.indexer) return;
  const auto& g = layer.geometry;
  const std::array<std::tuple<std::string_view, int, int>, 10> sizes = {{
      {"hidden_size", g.hidden, known->hidden},
      {"num_attention_heads", g.heads, known->heads},
      {"q_lora_rank", g.q_lora, known->q_lora},
      {"kv_lora_rank", g.kv_lora, known->kv_lora},
      {"qk_nope_head_dim", g.nope, known->nope},
      {"qk_rope_head_dim", g.rope, known->rope},
      {"v_head_dim", g.v, known->v},
      {"index_n_heads", layer.indexer->heads, known->index_heads},
      {"index_head_dim", layer.indexer->dim, known->index_dim},
      {"index_topk", layer.indexer->topk, known->topk},
  }};
  std::string differing;
  for (const auto& [field, own, assumed] : sizes) {
    if (own == assumed) continue;
    differing +=
        fmt::format("{}{} {} (assumed {})", differing.empty() ? "" : ", ", field, own, assumed);
  }
  if (differing.empty()) return;
  mapping.exact = false;
  mapping.needs.push_back(fmt::format(
      "its DSA operations know {} by name and would use their own sizes in silence: {}. Give this "
      "model an architecture name of its own",
      mapping.architecture, differing));
}

void add_notes(const ModelSpec& spec, AiconfiguratorMapping& mapping) {
  const auto& layer = typical_layer(spec);
  if (layer.attention != AttentionKind::kDsa) return;
  const auto shared = std::count_if(spec.layers.begin(), spec.layers.end(), [](const auto& each) {
    return each.indexer_role == IndexerRole::kShared && !each.is_mtp;
  });
  if (shared > 0) {
    mapping.notes.push_back(fmt::format(
        "{} layers share a selection: it mixes full rows and skip_indexer rows by "
        "dsa_full_layer_fraction, from index_topk_freq or index_topk_pattern; it does not read "
        "indexer_types",
        shared));
  }
  const bool quantised = layer.formats.o == WeightFormat::kFp8Block;
  if (quantised && mapping.architecture == "GlmMoeDsaForCausalLM") {
    mapping.notes.emplace_back(
        "its parser takes the layer norms listed in modules_to_not_convert for the whole attention "
        "and prices these fp8 projections as bf16");
  }
}

void add_needs(const ModelSpec& spec, AiconfiguratorMapping& mapping) {
  const auto& layer = typical_layer(spec);
  mapping.needs.push_back(
      mapping.architecture.empty()
          ? "config.json names no architecture: add `architectures`"
          : fmt::format("register {} in sdk/common.py with a model class", mapping.architecture));
  switch (layer.attention) {
    case AttentionKind::kDsa:
      mapping.needs.emplace_back(
          "a row of sizes in the DSA operations, and DEEPSEEKV32 as the model class");
      mapping.needs.emplace_back(
          "tables dsa_context_module_perf and dsa_generation_module_perf for this architecture: "
          "dsaperf collect CONFIG, then dsaperf db export --aiconfigurator");
      break;
    case AttentionKind::kPooledDsa:
    case AttentionKind::kLightningSparse:
    case AttentionKind::kBudgetSparse:
      mapping.needs.push_back(
          fmt::format("a new pair of operations for {}: no existing one has its indexer",
                      name(layer.attention)));
      mapping.needs.emplace_back("a table for each of them, and a collector of its rows");
      break;
    default:
      mapping.needs.push_back(fmt::format("a model class built of {}, {}",
                                          fmt::join(mapping.context_operations, ", "),
                                          fmt::join(mapping.generation_operations, ", ")));
      break;
  }
}

}  // namespace

AiconfiguratorMapping aiconfigurator_mapping(const ModelSpec& spec) {
  AiconfiguratorMapping mapping;
  mapping.architecture = spec.architecture;
  for (const auto& layer : spec.layers) {
    if (!layer.is_mtp) add_operations(layer.attention, mapping);
  }
  const auto known = std::find_if(kArchitectures.begin(), kArchitectures.end(),
                                  [&](const auto& each) { return each.name == spec.architecture; });
  if (known == kArchitectures.end()) {
    add_needs(spec, mapping);
    return mapping;
  }
  mapping.family = known->family;
  mapping.exact = true;
  compare_sizes(spec, mapping);
  const bool family_is_sparse = known->family == "DEEPSEEKV32" || known->family == "DEEPSEEKV4" ||
                                known->family == "MINIMAXM3";
  if (is_sparse(spec) != family_is_sparse) {
    mapping.exact = false;
    mapping.needs.push_back(fmt::format("{} is modelled as {}, this config is {}",
                                        mapping.architecture, family_is_sparse ? "sparse" : "dense",
                                        family_is_sparse ? "dense" : "sparse"));
  }
  add_notes(spec, mapping);
  return mapping;
}

}  // namespace dsaperf::model
