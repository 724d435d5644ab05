#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/layer_predictor.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace dsaperf::predict {

// Requests of a pass that are alike.
struct RequestGroup {
  std::int64_t count = 1;
  std::int64_t new_tokens = 1;
  std::int64_t past_tokens = 0;
  bool operator==(const RequestGroup&) const = default;
};

// "3x512+4096,1x2048": groups of COUNTxNEW[+PAST]. Fails with kInvalidArgument and the part that is
// wrong.
Result<std::vector<RequestGroup>> parse_requests(std::string_view text);

// A pass over requests of different lengths: the mean over requests of what a pass would take whose
// requests are all like this one, as the work of a pass is the sum of its requests' and its weights
// are read once. Kernels are chosen by the longest request, so that a short one beside it runs in
// its regime. `shape` gives the phase, the heads and the rest; its batch and lengths are not looked
// at. One group alone is the plain question.
Result<LayerLatency> at_requests(LayerPredictor& predictor, const Tables& tables,
                                 const LayerKind& kind, const LayerShape& shape,
                                 const std::vector<RequestGroup>& requests);

// A prefill in chunks: each is a pass of its own after all that came before it.
struct ChunkedPrefill {
  LayerLatency total;  // the sum; intervals add, since the chunks' errors have the same causes
  struct Chunk {
    std::int64_t new_tokens = 0;
    std::int64_t past_tokens = 0;
    LayerLatency latency;
  };
  std::vector<Chunk> chunks;
};
Result<ChunkedPrefill> at_chunks(LayerPredictor& predictor, const Tables& tables,
                                 const LayerKind& kind, const LayerShape& shape,
                                 std::int64_t chunk_tokens);

// The prompt when its first `cached_tokens` are in the cache already. At least one token is always
// computed, as serving frameworks do.
LayerShape after_cache_hit(LayerShape shape, std::int64_t cached_tokens);

}  // namespace dsaperf::predict
