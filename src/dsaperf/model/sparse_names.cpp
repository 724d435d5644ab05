#include "dsaperf/model/sparse_names.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <string>

namespace dsaperf::model {
namespace {

using nlohmann::json;

// Read, or known to say nothing about the attention's shape.
constexpr std::array<std::string_view, 62> kKnown = {
    // DSA and its relatives
    "index_n_heads",
    "index_head_dim",
    "index_topk",
    "indexer_types",
    "index_topk_freq",
    "index_skip_topk_offset",
    "index_topk_pattern",
    "index_share_for_mtp_iteration",
    "indexer_rope_interleave",
    "index_kpool",
    "index_kpool_compress",
    "index_kpool_always_select_tail",
    "kv_source_layers",
    // DeepSeek-V4, 4.1
    "compress_ratios",
    "compress_rates",
    "compress_rope_theta",
    "compress_rate_csa",
    "compress_rate_hca",
    "index_source_layer_ids",
    "kv_source_layer_ids",
    "candidate_topk_blocks",
    "candidate_block_size",
    "candidate_source_layer_id",
    "compress",
    "compressed_sparse_attention",
    "heavily_compressed_attention",
    "index_query_from_hidden",
    // MSA
    "sparse_attention_config",
    "use_sparse_attention",
    "sparse_index_dim",
    "sparse_num_index_heads",
    "sparse_topk_blocks",
    "sparse_block_size",
    "sparse_init_block",
    "sparse_local_block",
    "sparse_attention_freq",
    "sparse_score_type",
    "sparse_disable_index_value",
    "index_topk_blocks",
    "index_block_size",
    "index_local_blocks",
    "index_init_blocks",
    "minimax_m3_sparse",
    // LSA
    "index_init_tokens",
    "index_local_tokens",
    "index_k_norm_type",
    // QSA
    "indexer_n_heads",
    "indexer_kv_heads",
    "indexer_head_dim",
    "indexer_budget",
    "indexer_compress_ratio",
    // Names of layer types as keys of rope_parameters
    "indexed_attention",
    "deepseek_sparse_attention",
    "hybrid_indexed",
    // The router's top-k, and the step of MoE layers
    "topk_group",
    "norm_topk_prob",
    "topk_method",
    "decoder_sparse_step",
    "compressed_vocab_size",
    // Towers
    "deepstack_visual_indexes",
    "img_token_compression_config",
    "image_token_compression_method",
};

constexpr std::array<std::string_view, 63> kModelTypes = {
    "deepseek_v2",    "deepseek_v3",    "deepseek_v32", "deepseek_v4", "deepseek_v41",
    "deepseek_v4_1",  "deepseek_ref",   "glm4",         "glm4_moe",    "glm4_moe_lite",
    "glm_moe_dsa",    "glm5_next",      "kimi_k2",      "kimi_k25",    "kimi_k3",
    "kimi_linear",    "kimi_vl",        "minimax_m1",   "minimax_m2",  "minimax_m3",
    "minimax_m3_vl",  "qwen2",          "qwen2_moe",    "qwen3",       "qwen3_moe",
    "qwen3_next",     "qwen3_vl",       "qwen3_vl_moe", "qwen3_5",     "qwen3_5_moe",
    "qwen4_exp",      "llama",          "llama4",       "mistral",     "mistral3",
    "mistral_large3", "mistral_large4", "mixtral",      "gemma2",      "gemma3",
    "gemma4",         "gpt_oss",        "gpt_neo",      "mimo",        "mimo_v2",
    "mimo_v2_flash",  "hy_v3",          "hy_v4",        "hunyuan",     "axk1",
    "axk2",           "step3",          "step3p5",      "step3p7",     "longcat",
    "longcat_flash",  "dots1",          "dots3_note",   "nemotron_h",  "nemotron-nas",
    "ernie4_5_moe",   "phi3",           "bailing_moe",
};

template <std::size_t kCount>
bool holds(const std::array<std::string_view, kCount>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

bool looks_sparse(std::string_view name) {
  for (const std::string_view start :
       {"index_", "indexer", "topk", "top_k_blocks", "compress", "kv_source", "candidate", "dsa_",
        "nsa_", "csa_", "hca_", "msa_", "lsa_", "qsa_"}) {
    if (name.starts_with(start)) return true;
  }
  return name == "index" || name.find("sparse") != name.npos || name.find("kpool") != name.npos ||
         name.find("_index_") != name.npos || name.find("_topk_") != name.npos;
}

bool is_elsewhere(std::string_view name) {
  return name.find("vision") != name.npos || name.find("audio") != name.npos ||
         name == "quantization_config" || name == "hf_quant_config" || name == "per_layer_config" ||
         name == "id2label" || name == "label2id";
}

void search(const json& object, const std::string& path, ConfigProblems& problems) {
  for (const auto& [key, value] : object.items()) {
    if (is_elsewhere(key)) continue;
    const auto place = path.empty() ? key : fmt::format("{}.{}", path, key);
    if (looks_sparse(key) && !holds(kKnown, key)) {
      problems.warn(fmt::format(
          "{:.120} = {}: looks like sparse attention, but no reading of this field is known; it is "
          "not accounted for",
          place, excerpt(value)));
    }
    if (value.is_object()) search(value, place, problems);
  }
}

}  // namespace

void report_unknown_sparse_fields(const json& document, std::string_view model_type,
                                  ConfigProblems& problems) {
  search(document, "", problems);
  const bool suffixed = model_type.ends_with("_text") &&
                        holds(kModelTypes, model_type.substr(0, model_type.size() - 5));
  if (!model_type.empty() && !holds(kModelTypes, model_type) && !suffixed) {
    problems.warn(fmt::format("model_type \"{:.60}\" has not been met before: read by its fields",
                              model_type));
  }
}

}  // namespace dsaperf::model
