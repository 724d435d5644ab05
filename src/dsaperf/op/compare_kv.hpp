#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/run_layer.hpp"

#include <vector>

namespace dsaperf::op {

// What the formats of the caches cost at the layer's output, against a bf16 cache and a selection
// by unrounded scores (bf16 queries and keys as the projections made them, f32 sums).
struct KvComparison {
  ScoreDistribution scores = ScoreDistribution::kNormal;
  kernels::KvRows::Format kv = kernels::KvRows::Format::kBf16;
  double selection_overlap = 1;          // part of the unrounded selection that fp8 scores find
  double lowest_overlap = 1;             // of the worst token
  double output_error = 0;               // root mean square, over that of the output
  double output_error_of_cache = 0;      // the same selection, this cache
  double output_error_of_selection = 0;  // fp8 scores, bf16 cache
};

// One entry a distribution and format. `options.kv` and check_tokens are not looked at. Fails with
// kInvalidArgument for a layer without an indexer, or a shape that selects nothing.
Result<std::vector<KvComparison>> compare_kv(Backend& backend, const LayerSpec& spec,
                                             const RunOptions& options,
                                             std::span<const ScoreDistribution> distributions,
                                             std::span<const kernels::KvRows::Format> formats);

}  // namespace dsaperf::op
