#pragma once

#include "dsaperf/capi/call.hpp"
#include "dsaperf/op/cache_manager.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <memory>
#include <vector>

// A layer and the weights that past tokens are made like. The backend is shared with its caches,
// so that either may go first.
struct dsaperf_layer {
  std::shared_ptr<dsaperf::op::Backend> backend;
  dsaperf::op::LayerWeights key_norm;  // k_norm and k_norm_bias alone
  dsaperf::op::DsaLayer layer;
};

struct dsaperf_cache {
  std::shared_ptr<dsaperf::op::Backend> backend;
  dsaperf::op::LayerSpec spec;
  dsaperf::op::CacheManager cache;
};

namespace dsaperf::capi {

template <typename Handle>
Result<void> not_null(const Handle* handle, const char* name) {
  if (handle == nullptr) return fail(Errc::kInvalidArgument, "{} is null", name);
  return {};
}

// The requests of a batch for a layer over a cache of its own, once its counts and pointers are
// found to agree; results are the caller's to look at. `inputs_later`: x may be missing.
struct BatchTokens {
  std::vector<op::BatchRequest> requests;
  std::int64_t tokens = 0;
};
Result<BatchTokens> read_batch(const dsaperf_layer& layer, const dsaperf_cache& cache,
                               const dsaperf_batch& batch, bool inputs_later);

}  // namespace dsaperf::capi
