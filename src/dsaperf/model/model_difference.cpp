#include "dsaperf/model/model_difference.hpp"

#include "dsaperf/model/cache_bytes.hpp"
#include "dsaperf/model/layer_runs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

namespace dsaperf::model {
namespace {

using enum DifferenceMeaning;

class Comparison {
 public:
  Comparison(const ModelSpec& left, const ModelSpec& right) : left_(left), right_(right) {}

  std::vector<Difference> run() {
    const auto& a = typical_layer(left_);
    const auto& b = typical_layer(right_);
    text(kMethod, "attention", std::string(name(a.attention)), std::string(name(b.attention)));
    kernel_shape(a, b);
    cache_rows(a, b);
    layer_mix();
    storage(a, b);
    numbers(a, b);
    std::stable_sort(found_.begin(), found_.end(),
                     [](const auto& x, const auto& y) { return x.meaning < y.meaning; });
    return std::move(found_);
  }

 private:
  void text(DifferenceMeaning meaning, std::string_view what, const std::string& left,
            const std::string& right) {
    if (left != right) found_.push_back({meaning, std::string(what), left, right});
  }
  void number(DifferenceMeaning meaning, std::string_view what, double left, double right) {
    if (left != right) text(meaning, what, fmt::format("{}", left), fmt::format("{}", right));
  }

  void kernel_shape(const LayerPlan& a, const LayerPlan& b) {
    number(kKernelShape, "num_attention_heads", a.geometry.heads, b.geometry.heads);
    const bool latent = has_latent_cache(a) && has_latent_cache(b);
    if (latent) {
      number(kKernelShape, "kv_lora_rank", a.geometry.kv_lora, b.geometry.kv_lora);
      number(kKernelShape, "qk_rope_head_dim", a.geometry.rope, b.geometry.rope);
    } else if (!has_latent_cache(a) && !has_latent_cache(b)) {
      number(kKernelShape, "num_key_value_heads", a.geometry.kv_heads, b.geometry.kv_heads);
      number(kKernelShape, "head_dim", a.geometry.head_dim, b.geometry.head_dim);
    }
    number(kKernelShape, "compress_ratio", a.compress_ratio, b.compress_ratio);
    number(kKernelShape, "sliding window", a.geometry.window, b.geometry.window);
    if (!a.indexer || !b.indexer) return;
    number(kKernelShape, "index_n_heads", a.indexer->heads, b.indexer->heads);
    number(kKernelShape, "index_head_dim", a.indexer->dim, b.indexer->dim);
    number(kKernelShape, "index keys pooled", a.indexer->pool, b.indexer->pool);
    number(kKernelShape, "block", a.indexer->block, b.indexer->block);
    text(kKernelShape, "indexer rope", pairing(*a.indexer), pairing(*b.indexer));
    number(kNumber, "index_topk", a.indexer->topk, b.indexer->topk);
  }

  static std::string pairing(const IndexerGeometry& indexer) {
    return indexer.rope_pairing == RopePairing::kInterleaved ? "interleaved" : "half-split";
  }

  void cache_rows(const LayerPlan& a, const LayerPlan& b) {
    for (const auto format : {KvFormat::kBf16, KvFormat::kFp8}) {
      const auto x = layer_cache(a, format);
      const auto y = layer_cache(b, format);
      number(kCacheRow, fmt::format("cache row, {}, bytes a token", name(format)),
             x.kv_bytes_per_token(), y.kv_bytes_per_token());
      if (format == KvFormat::kBf16) {
        number(kCacheRow, "index key, bytes a token", x.index_bytes_per_token(),
               y.index_bytes_per_token());
      }
    }
  }

  // "61 DSA" or "21 DSA full, 57 DSA shared".
  static std::string mix(const ModelSpec& spec) {
    std::map<std::string, int> counts;
    for (const auto* layer : main_attention_layers(spec)) {
      auto sort = short_name(*layer);
      if (layer->indexer_role == IndexerRole::kShared) sort += " shared";
      ++counts[sort];
    }
    std::string all;
    for (const auto& [sort, count] : counts) {
      all += fmt::format("{}{} {}", all.empty() ? "" : ", ", count, sort);
    }
    return all;
  }

  static std::string roles(const ModelSpec& spec) {
    std::string letters;
    for (const auto* layer : main_attention_layers(spec)) {
      letters += layer->indexer_role == IndexerRole::kFull     ? 'F'
                 : layer->indexer_role == IndexerRole::kShared ? 'S'
                                                               : '-';
    }
    return letters;
  }

  static std::string dense_layers(const ModelSpec& spec) {
    int dense = 0;
    for (const auto& layer : spec.layers) {
      dense += !layer.is_mtp && layer.mlp == MlpKind::kDense ? 1 : 0;
    }
    return fmt::format("{} dense MLP, {} MoE", dense, spec.main_layers - dense);
  }

  void layer_mix() {
    const auto left = mix(left_);
    const auto right = mix(right_);
    text(kLayerMix, "layers", left, right);
    if (left == right && roles(left_) != roles(right_)) {
      text(kLayerMix, "order of indexers", roles(left_), roles(right_));
    }
    text(kLayerMix, "feed-forward", dense_layers(left_), dense_layers(right_));
    number(kLayerMix, "MTP layers", left_.mtp_layers, right_.mtp_layers);
  }

  static std::string kv_text(const ModelSpec& spec) {
    return spec.kv_format ? std::string(name(*spec.kv_format)) : "not said";
  }

  void storage(const LayerPlan& a, const LayerPlan& b) {
    const auto formats = [&](std::string_view what, WeightFormat left, WeightFormat right) {
      text(kStorage, what, std::string(name(left)), std::string(name(right)));
    };
    formats("q projections", a.formats.q_b, b.formats.q_b);
    formats("kv projections", a.formats.kv_a, b.formats.kv_a);
    if (has_latent_cache(a) && has_latent_cache(b)) {
      formats("kv_b projection", a.formats.kv_b, b.formats.kv_b);
    }
    formats("o projection", a.formats.o, b.formats.o);
    if (a.indexer && b.indexer) {
      formats("indexer projections", a.formats.indexer, b.formats.indexer);
    }
    const auto middle = [](const ModelSpec& spec) -> const MlpWeightFormats& {
      return spec.layers[spec.layers.size() / 2].mlp_formats;
    };
    formats("routed experts", middle(left_).experts, middle(right_).experts);
    formats("shared experts", middle(left_).shared, middle(right_).shared);
    text(kStorage, "cache", kv_text(left_), kv_text(right_));
  }

  void numbers(const LayerPlan& a, const LayerPlan& b) {
    number(kNumber, "hidden_size", left_.hidden, right_.hidden);
    number(kNumber, "q_lora_rank", a.geometry.q_lora, b.geometry.q_lora);
    if (has_latent_cache(a) && has_latent_cache(b)) {
      number(kNumber, "qk_nope_head_dim", a.geometry.nope, b.geometry.nope);
      number(kNumber, "v_head_dim", a.geometry.v, b.geometry.v);
    }
    number(kNumber, "softmax scale", a.geometry.softmax_scale, b.geometry.softmax_scale);
    number(kNumber, "rms_norm_eps", left_.rms_eps, right_.rms_eps);
    number(kNumber, "rope_theta", left_.rope.theta, right_.rope.theta);
    text(kNumber, "rope type", left_.rope.type, right_.rope.type);
    number(kNumber, "routed experts", left_.moe.routed_experts, right_.moe.routed_experts);
    number(kNumber, "experts a token", left_.moe.experts_per_token, right_.moe.experts_per_token);
    number(kNumber, "moe_intermediate_size", left_.moe.intermediate, right_.moe.intermediate);
    number(kNumber, "shared experts' width", left_.moe.shared_intermediate,
           right_.moe.shared_intermediate);
    number(kNumber, "intermediate_size", left_.intermediate, right_.intermediate);
    number(kNumber, "vocab_size", left_.vocab, right_.vocab);
    number(kNumber, "max_position_embeddings", static_cast<double>(left_.max_positions),
           static_cast<double>(right_.max_positions));
  }

  const ModelSpec& left_;
  const ModelSpec& right_;
  std::vector<Difference> found_;
};

// A graver difference outweighs any number of lighter ones in practice: there are at most about
// fifteen numbers.
constexpr std::array<int, kDifferenceMeaningCount> kWeights = {4000, 300, 200, 60, 15, 4};

int distance(const std::vector<Difference>& found) {
  int sum = 0;
  for (const auto& difference : found)
    sum += kWeights[static_cast<std::size_t>(difference.meaning)];
  return sum;
}

}  // namespace

std::string_view name(DifferenceMeaning meaning) {
  constexpr std::array<std::string_view, kDifferenceMeaningCount> kNames = {
      "method", "kernel_shape", "cache_row", "layer_mix", "storage", "number"};
  return kNames[static_cast<std::size_t>(meaning)];
}

std::string_view title(DifferenceMeaning meaning) {
  constexpr std::array<std::string_view, kDifferenceMeaningCount> kTitles = {
      "another method",  "other kernel shape",    "other cache row",
      "other layer mix", "other storage formats", "only a number"};
  return kTitles[static_cast<std::size_t>(meaning)];
}

std::vector<Difference> differences(const ModelSpec& left, const ModelSpec& right) {
  return Comparison(left, right).run();
}

std::string verdict(const std::vector<Difference>& found, std::string_view right_name) {
  if (found.empty()) return fmt::format("to the op it is {}", right_name);
  switch (found.front().meaning) {
    case kMethod:
      return fmt::format("an integration of {} does not carry over: the method is another",
                         right_name);
    case kKernelShape:
    case kCacheRow:
      return fmt::format(
          "the stages are those of {}; its kernels and tables must be had for other shapes",
          right_name);
    case kLayerMix:
      return fmt::format("the layers of {} serve as they are; how many of each sort changes",
                         right_name);
    case kStorage:
      return fmt::format("an integration of {} can be reused with other weight or cache formats",
                         right_name);
    case kNumber:
      return fmt::format("an integration of {} can be reused: only numbers differ", right_name);
  }
  return {};
}

std::optional<NearestModel> nearest_model(const ModelSpec& spec, std::span<const ModelSpec> known) {
  std::optional<NearestModel> nearest;
  int least = 0;
  for (const auto& other : known) {
    if (other.name == spec.name && spec.is_bundled) continue;
    auto found = differences(spec, other);
    const int far = distance(found);
    if (nearest && far >= least) continue;
    least = far;
    nearest = NearestModel{other.name, std::move(found)};
  }
  return nearest;
}

}  // namespace dsaperf::model
