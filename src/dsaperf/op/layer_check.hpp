#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/dsa_layer.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace dsaperf::op {

// How far one stage is from the double reference on the same inputs. Non-finite values must stand
// in the same places; `error` is the root mean square of the difference over that of the
// reference, `largest` the largest difference over the largest value of its row.
struct StageCheck {
  model::Stage stage = model::Stage::kQkvAProjection;
  double error = 0;
  double tolerance = 0;  // 0: must be exact
  double largest = 0;
  double largest_tolerance = 0;
  bool passed = false;
  std::string detail;  // what differs, where it fails
};

struct LayerCheck {
  std::vector<StageCheck> stages;    // of the stages that ran, in order
  std::vector<std::int64_t> tokens;  // rows of the batch that were compared
  bool passed = false;
};

// Rows of a batch to compare: all if they are few, else first, last and some between of requests.
// DsaLayer::keep_scores() of them before the run lets scores and top-k be checked.
std::vector<std::int64_t> tokens_to_check(const ForwardPass& pass, std::size_t at_most);

// Runs the double reference stage by stage over the tokens of pass.kept_scores, each stage on what
// the pass itself had as its input, so that an error is charged to the stage that made it. Cache
// writes, gathers and top-k sets must be exact; among equal scores any choice is right.
Result<LayerCheck> check_layer(const DsaLayer& layer, const LayerWeights& weights,
                               const ForwardPass& pass, const CacheManager& cache, int threads);

}  // namespace dsaperf::op
