#pragma once

#include "dsaperf/core/units.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <cstdint>

namespace dsaperf::model {

// What one layer keeps of the past. Rows may stand for several tokens (compressed or pooled), may
// be limited to a window, and may be absent (a layer that reads another's cache, or shares a
// selection).
struct LayerCache {
  Bytes kv_row;  // latent and rope, or keys and values; of all heads
  int tokens_per_kv_row = 1;
  Bytes window_row;  // rows of the last `window` tokens alone
  int window = 0;
  Bytes index_row;  // index key with its scale
  int tokens_per_index_row = 1;

  // Bytes a token of context adds, once it is longer than every window.
  double kv_bytes_per_token() const;
  double index_bytes_per_token() const;
  // Bytes of a request with that many tokens in the cache.
  Bytes request_bytes(std::int64_t tokens) const;
};

// bf16: latent and rope 2 B each (512 + 64: 1152 B). fp8: latent 1 B with an f32 scale for 128,
// rope bf16 (656 B). Index keys are e4m3 with an f32 scale for 128 in both (132 B). The same on
// every rank for latent caches; keys and values of GQA are divided by tp as far as there are heads.
LayerCache layer_cache(const LayerPlan& layer, KvFormat format, int tp = 1);

// Summed over the layers; `with_mtp` adds the draft layers' own.
struct ModelCache {
  double kv_bytes_per_token = 0;
  double index_bytes_per_token = 0;
  Bytes window_bytes_per_request;  // of windows that are full
};
ModelCache model_cache(const ModelSpec& spec, KvFormat format, bool with_mtp, int tp = 1);

}  // namespace dsaperf::model
