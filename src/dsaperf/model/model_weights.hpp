#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <cstdint>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// How a model is laid over ranks: attention heads and dense MLPs over tp, experts over ep, each
// expert's width over moe_tp; dp copies of the attention. ep * moe_tp = tp * dp.
struct Parallel {
  int tp = 1;
  int dp = 1;
  int ep = 1;
  int moe_tp = 1;

  // moe_tp follows from the others, or is wrong: see check_parallel.
  static Parallel of(int tp, int dp = 1, int ep = 1) { return {tp, dp, ep, tp * dp / ep}; }
};

// Fails, naming the numbers, where heads, experts or widths do not divide.
Result<void> check_parallel(const ModelSpec& spec, const Parallel& parallel);

enum class WeightPart {
  kEmbedding,
  kAttention,
  kIndexer,
  kDenseMlp,
  kRoutedExperts,
  kSharedExperts,
  kRouter,
  kNorms,
  kDraft,  // what an MTP layer has besides a layer: its joining projection and norms
  kLmHead,
};
inline constexpr int kWeightPartCount = 10;
std::string_view name(WeightPart part);

// Weights of a part of the model: all of it, what one token uses, and what one rank holds.
struct PartWeights {
  WeightPart part = WeightPart::kEmbedding;
  bool is_mtp = false;
  std::int64_t parameters = 0;
  std::int64_t active_parameters = 0;
  Bytes bytes{};  // as stored, block scales included
  Bytes rank_bytes{};

  PartWeights& operator+=(const PartWeights& other);
};

struct ModelWeights {
  std::vector<PartWeights> parts;  // main parts first, then those of MTP; no part twice
  bool approximate = false;        // some layers are of a kind whose projections are estimated
};

// Bytes of a matrix as stored: fp8 blocks carry one f32 scale for 128 x 128, nvfp4 one byte for 16
// values, mxfp4 and mxfp8 one for 32, int4 two for 128.
Bytes matrix_bytes(std::int64_t rows, std::int64_t columns, WeightFormat format);

// Parts of one layer.
std::vector<PartWeights> layer_weights(const ModelSpec& spec, const LayerPlan& layer,
                                       const Parallel& parallel);

// Parts of the whole model, layers added up.
ModelWeights model_weights(const ModelSpec& spec, const Parallel& parallel);

// Sum over parts; `with_mtp` false leaves the draft layers out.
PartWeights total(const ModelWeights& weights, bool with_mtp);

}  // namespace dsaperf::model
