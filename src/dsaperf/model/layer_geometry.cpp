#include "dsaperf/model/layer_geometry.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>

namespace dsaperf::model {
namespace {

constexpr int kMaxHeads = 1 << 12;
constexpr int kMaxDim = 1 << 16;

// Overwrites what `fields` says; `prefix` as in swa_num_attention_heads.
void apply(const ConfigFields& fields, std::string_view prefix, AttentionGeometry& geometry) {
  const auto set = [&](std::string_view name, int max, int& size) {
    const auto full = std::string(prefix) + std::string(name);
    size = fields.integer({full}, 0, max).value_or(size);
  };
  set("num_attention_heads", kMaxHeads, geometry.heads);
  set("num_key_value_heads", kMaxHeads, geometry.kv_heads);
  set("head_dim", kMaxDim, geometry.head_dim);
  set("v_head_dim", kMaxDim, geometry.v);
  set("q_lora_rank", kMaxDim, geometry.q_lora);
  set("kv_lora_rank", kMaxDim, geometry.kv_lora);
  set("qk_nope_head_dim", kMaxDim, geometry.nope);
  set("qk_rope_head_dim", kMaxDim, geometry.rope);
}

AttentionGeometry base_geometry(const ConfigFields& fields, ModelSpec& spec) {
  auto& facts = spec.facts;
  AttentionGeometry geometry;
  geometry.hidden = spec.hidden;
  geometry.heads = spec.heads;
  facts.kv_heads = fields.integer({"num_key_value_heads", "num_attention_groups"}, 1, kMaxHeads);
  facts.head_dim = fields.integer({"head_dim"}, 0, kMaxDim);
  facts.q_lora_rank = fields.integer({"q_lora_rank"}, 0, kMaxDim);
  facts.kv_lora_rank = fields.integer({"kv_lora_rank"}, 1, kMaxDim);
  facts.o_lora_rank = fields.integer({"o_lora_rank"}, 0, kMaxDim);
  facts.qk_nope_head_dim = fields.integer({"qk_nope_head_dim"}, 0, kMaxDim);
  facts.qk_rope_head_dim = fields.integer({"qk_rope_head_dim"}, 0, kMaxDim);
  facts.v_head_dim = fields.integer({"v_head_dim"}, 1, kMaxDim);
  facts.sliding_window = fields.integer({"sliding_window", "sliding_window_size"}, 0);

  geometry.kv_heads = facts.kv_heads.value_or(spec.heads);
  geometry.q_lora = facts.q_lora_rank.value_or(0);
  geometry.kv_lora = facts.kv_lora_rank.value_or(0);
  geometry.o_lora = facts.o_lora_rank.value_or(0);
  geometry.o_groups = fields.integer({"o_groups"}, 0, kMaxHeads).value_or(0);
  geometry.rope = facts.qk_rope_head_dim.value_or(0);
  geometry.output_gate =
      fields.flag({"attn_output_gate", "attention_output_gate", "mla_use_output_gate"})
          .value_or(false);
  if (geometry.kv_lora > 0) {
    const std::string_view why = "kv_lora_rank makes this latent attention, which needs it";
    geometry.nope = fields.required({"qk_nope_head_dim"}, why, 0, kMaxDim);
    geometry.rope = fields.required({"qk_rope_head_dim"}, why, 0, kMaxDim);
    geometry.v = fields.required({"v_head_dim"}, why, 1, kMaxDim);
    geometry.head_dim = geometry.nope + geometry.rope;
    if (geometry.head_dim == 0) {
      fields.problems().fail_at(fields.path_of("qk_nope_head_dim"),
                                "queries of width 0: qk_nope_head_dim and qk_rope_head_dim are 0");
    }
    return geometry;
  }
  geometry.head_dim = facts.head_dim.value_or(0);
  if (geometry.head_dim == 0) {
    geometry.head_dim = spec.hidden / spec.heads;
    if (geometry.head_dim * spec.heads != spec.hidden) {
      fields.problems().warn(fmt::format(
          "num_attention_heads {} does not divide hidden_size {}, and there is no head_dim: {} is "
          "assumed",
          spec.heads, spec.hidden, geometry.head_dim));
    }
  }
  geometry.v = facts.v_head_dim.value_or(geometry.head_dim);
  geometry.nope = geometry.head_dim - std::min(geometry.rope, geometry.head_dim);
  return geometry;
}

// scale = width^-0.5, times YaRN's m^2 where mscale_all_dim asks for it.
double softmax_scale(const AttentionGeometry& geometry, const RopeSpec& rope) {
  double scale = 1 / std::sqrt(static_cast<double>(std::max(geometry.head_dim, 1)));
  if (rope.type.find("yarn") != std::string::npos && rope.mscale_all_dim != 0 && rope.factor > 1) {
    const double m = 0.1 * rope.mscale_all_dim * std::log(rope.factor) + 1;
    scale *= m * m;
  }
  return scale;
}

void apply_per_layer(const ConfigFields& fields, ModelSpec& spec) {
  const auto table = fields.object("per_layer_config");
  if (!table) return;
  for (const auto& [key, value] : table->raw().items()) {
    int index = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
    const bool is_layer = error == std::errc() && end == key.data() + key.size() && index >= 0 &&
                          index < static_cast<int>(spec.layers.size());
    const auto path = fmt::format("{}.{:.40}", fields.path_of("per_layer_config"), key);
    if (!is_layer || !value.is_object()) {
      fields.problems().fail_at(
          path, fmt::format("not the fields of one of {} layers", spec.layers.size()));
      return;
    }
    const ConfigFields own(value, path, fields.problems());
    auto& geometry = spec.layers[static_cast<std::size_t>(index)].geometry;
    apply(own, "", geometry);
    if (geometry.kv_lora > 0) geometry.head_dim = geometry.nope + geometry.rope;
  }
}

LinearGeometry linear_geometry(const ConfigFields& fields) {
  LinearGeometry linear;
  linear.key_heads =
      fields.integer({"linear_num_key_heads", "linear_num_heads", "mamba_num_heads"}, 0, kMaxHeads)
          .value_or(0);
  linear.value_heads =
      fields.integer({"linear_num_value_heads"}, 0, kMaxHeads).value_or(linear.key_heads);
  linear.key_dim =
      fields.integer({"linear_key_head_dim", "linear_head_dim", "mamba_head_dim"}, 0, kMaxDim)
          .value_or(0);
  linear.value_dim = fields.integer({"linear_value_head_dim"}, 0, kMaxDim).value_or(linear.key_dim);
  linear.conv_kernel =
      fields.integer({"linear_conv_kernel_dim", "conv_kernel"}, 0, 1024).value_or(0);
  if (const auto nested = fields.object("linear_attn_config")) {
    linear.key_heads = nested->integer({"num_heads"}, 0, kMaxHeads).value_or(linear.key_heads);
    linear.value_heads = linear.key_heads;
    linear.key_dim = nested->integer({"head_dim"}, 0, kMaxDim).value_or(linear.key_dim);
    linear.value_dim = linear.key_dim;
    linear.conv_kernel =
        nested->integer({"short_conv_kernel_size"}, 0, 1024).value_or(linear.conv_kernel);
  }
  return linear;
}

}  // namespace

void read_layer_geometry(const ConfigFields& fields, ModelSpec& spec) {
  const auto base = base_geometry(fields, spec);
  const auto linear = linear_geometry(fields);
  const int chunk = fields.integer({"attention_chunk_size"}, 0).value_or(0);
  for (auto& layer : spec.layers) {
    layer.geometry = base;
    const bool windowed = layer.attention == AttentionKind::kSlidingWindow;
    const bool compressed = layer.attention == AttentionKind::kCompressedSparse ||
                            layer.attention == AttentionKind::kHeavilyCompressed;
    if (windowed) {
      apply(fields, "swa_", layer.geometry);
      layer.geometry.heads = fields.integer({"num_sliding_attention_heads"}, 1, kMaxHeads)
                                 .value_or(layer.geometry.heads);
    }
    if (windowed || compressed) {
      layer.geometry.window = spec.facts.sliding_window.value_or(chunk);
    }
    if (layer.attention == AttentionKind::kGqa) {  // Gemma 4
      layer.geometry.head_dim =
          fields.integer({"global_head_dim"}, 1, kMaxDim).value_or(layer.geometry.head_dim);
      layer.geometry.kv_heads = fields.integer({"num_global_key_value_heads"}, 1, kMaxHeads)
                                    .value_or(layer.geometry.kv_heads);
      if (fields.has("global_head_dim")) layer.geometry.v = layer.geometry.head_dim;
    }
    if (layer.attention == AttentionKind::kLinear && !layer.linear) layer.linear = linear;
  }
  apply_per_layer(fields, spec);
  for (auto& layer : spec.layers) {
    layer.geometry.softmax_scale = softmax_scale(layer.geometry, spec.rope);
  }
}

}  // namespace dsaperf::model
