#include "dsaperf/report/model_facts.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <string_view>
#include <vector>

namespace dsaperf::report {
namespace {

using model::AttentionKind;
using model::IndexerRole;
using model::LayerPlan;
using nlohmann::ordered_json;

class FactSheet {
 public:
  explicit FactSheet(const model::ModelSpec& spec)
      : spec_(spec), layers_(main_attention_layers(spec)) {}

  ordered_json sheet() {
    sizes();
    feed_forward();
    attention();
    if (!spec_.facts.compress_ratios.empty() || has(AttentionKind::kCompressedSparse) ||
        has(AttentionKind::kHeavilyCompressed)) {
      compression();
    }
    indexer();
    return std::move(facts_);
  }

 private:
  template <typename T>
  void put(std::string_view key, const T& value) {
    facts_[std::string(key)] = value;
  }
  template <typename T>
  void put_if(std::string_view key, const std::optional<T>& value) {
    if (value) put(key, *value);
  }

  bool has(AttentionKind kind) const { return count(kind) > 0; }

  int count(AttentionKind kind) const {
    return static_cast<int>(std::count_if(layers_.begin(), layers_.end(), [&](const auto* layer) {
      return layer->attention == kind;
    }));
  }

  template <typename Predicate>
  std::vector<int> ids(Predicate predicate) const {
    std::vector<int> found;
    for (const auto* layer : layers_) {
      if (predicate(*layer)) found.push_back(layer->index);
    }
    return found;
  }

  void sizes() {
    const auto& raw = spec_.facts;
    if (!spec_.model_type.empty()) put("model_type", spec_.model_type);
    if (!spec_.architecture.empty()) put("architecture", spec_.architecture);
    put("nested_text_config", spec_.nested_text_config);
    put("layers", spec_.main_layers);
    put_if("mtp_layers", raw.mtp_layers);
    put("hidden", spec_.hidden);
    put("q_heads", spec_.heads);
    put_if("kv_heads", raw.kv_heads);
    put_if("q_lora_rank", raw.q_lora_rank);
    put_if("kv_lora_rank", raw.kv_lora_rank);
    put_if("o_lora_rank", raw.o_lora_rank);
    put_if("qk_nope_head_dim", raw.qk_nope_head_dim);
    put_if("qk_rope_head_dim", raw.qk_rope_head_dim);
    put_if("v_head_dim", raw.v_head_dim);
    put_if("head_dim", raw.head_dim);
    put_if("sliding_window", raw.sliding_window);
    put_if("max_position_embeddings", raw.max_positions);
    if (spec_.vocab > 0) put("vocab_size", spec_.vocab);
  }

  void feed_forward() {
    const auto& raw = spec_.facts;
    put_if("moe_intermediate_size", raw.moe_intermediate);
    if (spec_.moe.routed_experts > 0) put("routed_experts", spec_.moe.routed_experts);
    put_if("experts_per_token", raw.experts_per_token);
    put_if("shared_experts", raw.shared_experts);
    put_if("zero_experts", raw.zero_experts);
    if (!raw.states_mlp_layers) return;
    const auto moe = ids([](const LayerPlan& layer) { return layer.mlp == model::MlpKind::kMoe; });
    put("ffn_dense_layers", spec_.main_layers - static_cast<int>(moe.size()));
    put("ffn_moe_layers", moe.size());
  }

  void attention() {
    if (static_cast<int>(layers_.size()) != spec_.main_layers) {
      put("attention_blocks", layers_.size());
    }
    put("sparse", is_sparse(spec_));
    const auto linear = count(AttentionKind::kLinear);
    if (linear > 0) put("linear_layers", linear);
    if (spec_.facts.topk_blocks) put("dense_attn_layers", count(AttentionKind::kGqa));
    const auto sparse =
        ids([](const LayerPlan& layer) { return model::is_sparse(layer.attention); });
    if (sparse.empty() && !spec_.facts.topk_blocks) return;
    put("sparse_layers", sparse.size());
    if (!sparse.empty() && sparse.size() < layers_.size()) put("sparse_layer_ids", sparse);
  }

  void compression() {
    const auto& ratios = spec_.facts.compress_ratios;
    if (!ratios.empty()) {
      put("compress_ratios_len", ratios.size());
      const auto main = static_cast<std::size_t>(spec_.main_layers);
      if (ratios.size() > main) {
        put("mtp_compress",
            std::vector<int>(ratios.begin() + static_cast<std::ptrdiff_t>(main), ratios.end()));
      }
    }
    put("sliding_only_layers", count(AttentionKind::kSlidingWindow));
    put("csa_layers", count(AttentionKind::kCompressedSparse));
    put("hca_layers", count(AttentionKind::kHeavilyCompressed));
  }

  void indexer() {
    const auto& raw = spec_.facts;
    put_if("index_n_heads", raw.index_heads);
    put_if("index_head_dim", raw.index_dim);
    put_if("index_topk", raw.index_topk);
    put_if("index_kpool", raw.index_kpool);
    if (raw.topk_blocks) {  // MSA
      put("topk_blocks", *raw.topk_blocks);
      put_if("block_size", raw.block_size);
      put("topk_tokens", std::int64_t{*raw.topk_blocks} * raw.block_size.value_or(0));
      put_if("init_block", raw.init_blocks);
      put_if("local_block", raw.local_blocks);
    }
    put_if("budget_tokens", raw.budget_tokens);  // QSA
    put_if("compress_ratio", raw.budget_compress_ratio);
    if (raw.budget_tokens && raw.budget_compress_ratio) {
      put("topk_blocks", *raw.budget_tokens / *raw.budget_compress_ratio);
    }
    if (raw.init_tokens || raw.local_tokens) {  // LSA
      facts_["always_selected"] = {{"init", raw.init_tokens.value_or(0)},
                                   {"local", raw.local_tokens.value_or(0)}};
    }
    const auto full =
        ids([](const LayerPlan& layer) { return layer.indexer_role == IndexerRole::kFull; });
    const auto shared =
        ids([](const LayerPlan& layer) { return layer.indexer_role == IndexerRole::kShared; });
    if (full.empty() && shared.empty()) return;
    put("indexer_layers", full.size());
    put("indexer_full_layers", full.size());
    put("indexer_shared_layers", shared.size());
    if (!shared.empty()) put("indexer_full_ids", full);
  }

  const model::ModelSpec& spec_;
  std::vector<const LayerPlan*> layers_;
  ordered_json facts_ = ordered_json::object();
};

}  // namespace

ordered_json model_facts(const model::ModelSpec& spec) {
  auto facts = FactSheet(spec).sheet();
  facts["weights_quant"] = spec.quantisation;
  if (spec.facts.kv_cache_quant) facts["kv_cache_quant"] = *spec.facts.kv_cache_quant;
  return facts;
}

}  // namespace dsaperf::report
