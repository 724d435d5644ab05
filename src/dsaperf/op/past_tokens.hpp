#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/backend.hpp"
#include "dsaperf/op/cache_manager.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <cstdint>

namespace dsaperf::op {

// Fills the first `tokens` of a request with past tokens that look like the layer's own: latents
// and rope rows of variance 1, index keys as LayerNorm and rope make them. The values depend on
// seed, `stream` (say, the number of the request) and position only: not on the cache's format.
Result<void> fill_past(Backend& backend, CacheManager& cache, const LayerSpec& spec,
                       const LayerWeights& weights, RequestId request, std::int64_t tokens,
                       std::uint64_t seed, std::uint64_t stream);

}  // namespace dsaperf::op
