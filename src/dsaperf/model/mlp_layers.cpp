#include "dsaperf/model/mlp_layers.hpp"

#include "dsaperf/model/attention_layers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::model {
namespace {

constexpr int kMaxWidth = 1 << 18;
constexpr int kMaxExperts = 1 << 13;

void read_moe_sizes(const ConfigFields& fields, ModelSpec& spec) {
  auto& moe = spec.moe;
  auto& facts = spec.facts;
  moe.routed_experts =
      fields
          .integer({"n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"}, 0,
                   kMaxExperts)
          .value_or(0);
  facts.experts_per_token =
      fields.integer({"num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_top_k",
                      "top_k_experts", "experts_per_token"},
                     0, kMaxExperts);
  facts.shared_experts = fields.integer({"n_shared_experts", "num_shared_experts"}, 0, kMaxExperts);
  facts.zero_experts = fields.integer({"zero_expert_num"}, 0, kMaxExperts);
  facts.moe_intermediate = fields.integer({"moe_intermediate_size"}, 0, kMaxWidth);
  if (moe.routed_experts == 0) return;
  moe.experts_per_token = facts.experts_per_token.value_or(0);
  if (moe.experts_per_token == 0) {
    fields.problems().warn("num_experts_per_tok is missing: the active parameters are not known");
  }
  moe.zero_experts = facts.zero_experts.value_or(0);
  const auto expert_width = fields.integer(
      {"moe_intermediate_size", "expert_ffn_hidden_size", "intermediate_size"}, 0, kMaxWidth);
  moe.intermediate = expert_width.value_or(0);
  if (moe.intermediate == 0) {
    fields.problems().warn(
        "moe_intermediate_size is missing: the experts' weights are not counted");
  }
  const auto shared_width = fields.integer(
      {"shared_expert_intermediate_size", "shared_experts_intermediate_size",
       "moe_shared_expert_intermediate_size", "share_expert_dim", "shared_intermediate_size"},
      0, kMaxWidth);
  moe.shared_experts = facts.shared_experts.value_or(shared_width.value_or(0) > 0 ? 1 : 0);
  moe.shared_intermediate =
      std::min(kMaxWidth, shared_width.value_or(moe.intermediate) * moe.shared_experts);
  moe.expert_hidden = fields.integer({"routed_expert_hidden_size", "moe_latent_size"}, 1, kMaxWidth)
                          .value_or(spec.hidden);
}

std::optional<std::vector<bool>> from_types(const ConfigFields& fields, const ModelSpec& spec) {
  const auto types = layer_texts(fields, "mlp_layer_types", spec);
  if (!types) return std::nullopt;
  std::vector<bool> is_moe;
  for (const auto& type : *types) {
    if (type != "dense" && type != "sparse" && type != "moe" && type != "hash_moe") {
      fields.problems().warn(fmt::format("mlp_layer_types: unknown type \"{:.40}\", read as {}",
                                         type, type.find("dense") == type.npos ? "MoE" : "dense"));
    }
    is_moe.push_back(type.find("dense") == std::string::npos);
  }
  return is_moe;
}

std::vector<bool> by_rule(const ConfigFields& fields, ModelSpec& spec) {
  const auto layers = static_cast<std::size_t>(spec.main_layers);
  std::vector<bool> is_moe(layers, spec.moe.routed_experts > 0);
  if (spec.moe.routed_experts == 0) return is_moe;
  if (fields.is_list("moe_layer_freq")) {
    const auto list = layer_integers(fields, "moe_layer_freq", spec);
    for (std::size_t i = 0; list && i < layers; ++i) is_moe[i] = (*list)[i] != 0;
    return is_moe;
  }
  if (const auto listed = fields.text({"moe_layers_enum"})) {  // Step: "3,4,5"
    is_moe.assign(layers, false);
    const char* const end = listed->data() + listed->size();
    for (const char* at = listed->data(); at < end;) {
      std::size_t layer = layers;
      const auto number = std::from_chars(at, end, layer);
      if (number.ec == std::errc() && layer < layers) is_moe[layer] = true;
      at = number.ptr > at ? number.ptr : at + 1;
    }
    return is_moe;
  }
  const int first = fields.integer({"first_k_dense_replace"}).value_or(0);
  const int every =
      std::max(1, fields.integer({"moe_layer_freq", "decoder_sparse_step"}).value_or(1));
  const bool counts_from_one = fields.has("decoder_sparse_step");
  for (std::size_t i = 0; i < layers; ++i) {
    const auto number = static_cast<int>(i) + (counts_from_one ? 1 : 0);
    is_moe[i] = static_cast<int>(i) >= first && number % every == 0;
  }
  if (const auto step = fields.integer({"interleave_moe_layer_step"}, 1)) {
    for (std::size_t i = 0; i < layers; ++i) is_moe[i] = (static_cast<int>(i) + 1) % *step == 0;
  }
  for (const int dense : fields.integers({"mlp_only_layers"}).value_or(std::vector<int>{})) {
    if (dense >= 0 && dense < spec.main_layers) is_moe[static_cast<std::size_t>(dense)] = false;
  }
  return is_moe;
}

}  // namespace

void read_mlp_layers(const ConfigFields& fields, ModelSpec& spec) {
  read_moe_sizes(fields, spec);
  auto is_moe = from_types(fields, spec);
  spec.facts.states_mlp_layers = is_moe || fields.has("first_k_dense_replace") ||
                                 fields.is_list("moe_layer_freq") || fields.has("moe_layers_enum");
  if (!is_moe) is_moe = by_rule(fields, spec);
  const auto blocks = block_types(fields);
  const bool two_blocks = has_two_blocks(fields);
  bool any_dense = false;
  for (auto& layer : spec.layers) {
    const auto i = static_cast<std::size_t>(layer.index);
    if (two_blocks) {
      // LongCat: a dense MLP after each block, the MoE beside the first of the two.
      layer.mlp = layer.is_mtp || i % 2 == 1 ? MlpKind::kDense : MlpKind::kDenseAndMoe;
    } else if (blocks && !layer.is_mtp) {
      const auto& block = (*blocks)[i];
      layer.mlp = block == "moe"   ? MlpKind::kMoe
                  : block == "mlp" ? MlpKind::kDense
                                   : MlpKind::kNone;
    } else {
      // A draft layer is built like the last main one.
      layer.mlp = is_moe->empty() || !(*is_moe)[std::min(i, is_moe->size() - 1)] ? MlpKind::kDense
                                                                                 : MlpKind::kMoe;
    }
    any_dense = any_dense || layer.mlp == MlpKind::kDense || layer.mlp == MlpKind::kDenseAndMoe;
    if (layer.mlp == MlpKind::kMoe && spec.moe.routed_experts == 0) {
      fields.problems().fail_at(fields.path_of("n_routed_experts"),
                                fmt::format("is missing, yet layer {} is a MoE", i));
      return;
    }
  }
  if (!any_dense) return;
  const auto width = fields.integer(
      {"dense_intermediate_size", "intermediate_size_mlp", "ffn_hidden_size", "intermediate_size"},
      0, kMaxWidth);
  spec.intermediate = width.value_or(0);
  if (spec.intermediate == 0) {
    fields.problems().warn("intermediate_size is missing: the dense MLP's weights are not counted");
  }
}

}  // namespace dsaperf::model
