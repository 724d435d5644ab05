#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/cost/shape.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <array>
#include <span>
#include <string_view>

namespace dsaperf::cost {

// Arithmetic a stage needs; a system states a peak rate for each, or none.
enum class MathFormat { kBf16, kFp8, kInt8, kFp4 };
inline constexpr int kMathFormatCount = 4;

std::string_view name(MathFormat format);

// Arithmetic of a GEMM with these weights. Weight-only formats (int4, mxfp4) multiply in bf16.
MathFormat math_format(model::WeightFormat format);

// Bytes of one weight, block scales included: fp8 blocks of 128 x 128 carry 4 B, nvfp4 1 B a 16
// values, mxfp4 1 B a 32, int4 2 B a 128.
double bytes_per_weight(model::WeightFormat format);

// Bytes that a stage must move to or from HBM, by what they are. Doubles: sums over ragged batches,
// block scales are fractions of a byte a weight.
struct Traffic {
  double weights = 0;      // once a pass, whatever the batch
  double activations = 0;  // inputs read and outputs written
  double kv_cache = 0;     // latent rows, read or written; each distinct row once
  double index_cache = 0;  // index-key rows
  double scores = 0;       // f32 scores between stages 9 and 10
  double total() const { return weights + activations + kv_cache + index_cache + scores; }
};

struct StageCost {
  model::Stage stage = model::Stage::kQkvAProjection;
  // By arithmetic: the fused projection may mix formats.
  std::array<double, kMathFormatCount> flops{};
  Traffic traffic;
  double gathered_bytes = 0;  // KV rows read through L2: one a (token, selected row) pair
  int launches = 0;  // kernels when each is launched on its own, fp8 GEMMs with their quantiser

  Flops total_flops() const;
};

// One layer on one rank, stage by stage in order of execution; stages that do not run are absent.
class LayerCost {
 public:
  std::span<const StageCost> stages() const { return {stages_.data(), count_}; }
  // Null where the layer does not run the stage.
  const StageCost* find(model::Stage stage) const;
  const Work& work() const { return work_; }
  Flops total_flops() const;
  double total_bytes() const;
  int launches() const;

 private:
  friend Result<LayerCost> layer_cost(const model::LayerPlan&, const Shape&);
  std::array<StageCost, model::kStageCount> stages_;
  std::size_t count_ = 0;
  Work work_;
};

// FLOPs, bytes and launches of a layer. Each request is dense or sparse by its own length. FLOPs
// and all bytes but weights of a batch are the sums of its requests'; everything grows with every
// size, and is continuous but where a request crosses topk.
//
// Fails with kUnsupported for attention that is not a list of these stages (CSA, MSA, GQA, ...) and
// with kInvalidArgument for sizes that contradict each other.
Result<LayerCost> layer_cost(const model::LayerPlan& layer, const Shape& shape);

// Bytes a token and layer keep in the caches: 1152 (bf16) or 656 (fp8) for 512 + 64, and 132 for an
// index key of 128.
double kv_row_bytes(const model::AttentionGeometry& geometry, model::KvFormat kv);
double index_row_bytes(const model::IndexerGeometry& indexer);

}  // namespace dsaperf::cost
