#pragma once

#include "dsaperf/core/units.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <cstdint>

namespace dsaperf::model {

// Scores that the indexer of one layer holds between scoring and top-k, f32: a row for each new
// token, an entry for each key it may see (pooled or compressed keys are fewer). Layers run one
// after the other, so one buffer serves the whole model. Zero where no indexer runs.
Bytes score_buffer(const LayerPlan& layer, std::int64_t new_tokens, std::int64_t context);

// The longest prefill chunk whose scores stay within the budget: a multiple of 64, the page of the
// cache, as long as that is not 0. 0: not even one token, or no indexer.
std::int64_t chunk_within(const LayerPlan& layer, Bytes budget, std::int64_t context);

}  // namespace dsaperf::model
