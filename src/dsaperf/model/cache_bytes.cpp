#include "dsaperf/model/cache_bytes.hpp"

#include "dsaperf/core/ceil_div.hpp"

#include <algorithm>

namespace dsaperf::model {
namespace {

// e4m3 values with one f32 scale for 128 of them.
Bytes scaled_row(std::int64_t values) {
  return {values + 4 * ceil_div(values, 128)};
}

Bytes latent_row(const AttentionGeometry& g, KvFormat format) {
  if (format == KvFormat::kBf16) return {2L * (g.kv_lora + g.rope)};
  return scaled_row(g.kv_lora) + Bytes{2L * g.rope};
}

// DeepSeek-V4: one row is key and value. In fp8 the part without rope is e4m3 with a one-byte scale
// for 64, the scales padded to 8 bytes, and the rope stays bf16: 448 + 8 + 128 = 584 B for 512.
Bytes single_row(const AttentionGeometry& g, KvFormat format) {
  if (format == KvFormat::kBf16) return {2L * g.head_dim};
  const std::int64_t values = g.head_dim - std::min(g.rope, g.head_dim);
  return {values + 8 * ceil_div(ceil_div(values, 64), 8) + 2L * g.rope};
}

Bytes grouped_row(const AttentionGeometry& g, KvFormat format, int tp) {
  const std::int64_t heads = std::max<std::int64_t>(1, ceil_div(g.kv_heads, tp));
  return Bytes{heads * (g.head_dim + g.v) * (format == KvFormat::kBf16 ? 2 : 1)};
}

}  // namespace

double LayerCache::kv_bytes_per_token() const {
  return static_cast<double>(kv_row.value) / tokens_per_kv_row;
}

double LayerCache::index_bytes_per_token() const {
  return static_cast<double>(index_row.value) / tokens_per_index_row;
}

Bytes LayerCache::request_bytes(std::int64_t tokens) const {
  return kv_row * (tokens / tokens_per_kv_row) + index_row * (tokens / tokens_per_index_row) +
         window_row * std::min<std::int64_t>(tokens, window);
}

LayerCache layer_cache(const LayerPlan& layer, KvFormat format, int tp) {
  LayerCache cache;
  const auto& g = layer.geometry;
  const bool is_single_row = g.o_groups > 0;  // DeepSeek-V4
  if (layer.attention == AttentionKind::kLinear || layer.attention == AttentionKind::kNone) {
    return cache;
  }
  const Bytes row = has_latent_cache(layer) ? latent_row(g, format)
                    : is_single_row         ? single_row(g, format)
                                            : grouped_row(g, format, tp);
  cache.window = g.window;
  if (layer.attention == AttentionKind::kSlidingWindow) {
    cache.window_row = row;
    return cache;
  }
  if (layer.compress_ratio > 0) {
    cache.window_row = row;
    cache.tokens_per_kv_row = layer.compress_ratio;
  }
  if (layer.kv_source < 0) cache.kv_row = row;
  // In DeepSeek-V4.1 the layer that owns the compressed rows owns their index keys.
  const bool keys_are_elsewhere = layer.compress_ratio > 0 && layer.kv_source >= 0;
  if (layer.indexer_role == IndexerRole::kFull && layer.indexer->dim > 0 && !keys_are_elsewhere) {
    cache.index_row = scaled_row(layer.indexer->dim);
    cache.tokens_per_index_row = std::max(1, layer.indexer->pool);
  }
  return cache;
}

ModelCache model_cache(const ModelSpec& spec, KvFormat format, bool with_mtp, int tp) {
  ModelCache sum;
  for (const auto& layer : spec.layers) {
    if (layer.is_mtp && !with_mtp) continue;
    const auto cache = layer_cache(layer, format, tp);
    sum.kv_bytes_per_token += cache.kv_bytes_per_token();
    sum.index_bytes_per_token += cache.index_bytes_per_token();
    sum.window_bytes_per_request += cache.window_row * cache.window;
  }
  return sum;
}

}  // namespace dsaperf::model
