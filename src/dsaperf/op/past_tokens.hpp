#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/backend.hpp"
#include "dsaperf/op/cache_manager.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <cstdint>
#include <vector>

namespace dsaperf::op {

// Where past tokens come from: their values depend on seed, stream (say, the number of the request)
// and position only, not on the format of the cache.
struct PastSource {
  std::uint64_t seed = 0;
  std::uint64_t stream = 0;
};

// Fills the first `tokens` of a request with past tokens that look like the layer's own: latents
// and rope rows of variance 1, index keys as LayerNorm and rope make them.
Result<void> fill_past(Backend& backend, CacheManager& cache, const LayerSpec& spec,
                       const LayerWeights& weights, RequestId request, std::int64_t tokens,
                       PastSource source);

// The index keys of those tokens as bf16, before they are quantised: [count, 128].
Result<std::vector<std::uint16_t>> past_index_keys(const LayerSpec& spec,
                                                   const LayerWeights& weights, PastSource source,
                                                   std::int64_t first, std::int64_t count);

}  // namespace dsaperf::op
