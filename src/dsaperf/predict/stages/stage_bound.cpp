#include "dsaperf/predict/stages/stage_bound.hpp"

#include "dsaperf/cost/bound.hpp"

#include <cstdint>

namespace dsaperf::predict::stages {
namespace {

using cost::MathFormat;

constexpr double kPerSecond = 1e3;  // of a rate per millisecond

model::LayerPlan layer_of(const Setting& s) {
  const auto whole = [](double x) { return static_cast<int>(x); };
  const auto w = s.weights;
  return {.attention = model::AttentionKind::kDsa,
          .indexer_role = s.own_indexer ? model::IndexerRole::kFull : model::IndexerRole::kShared,
          .geometry = {.hidden = whole(s.hidden),
                       .q_lora = whole(s.q_lora),
                       .kv_lora = whole(s.kv_lora),
                       .nope = whole(s.nope),
                       .rope = whole(s.rope),
                       .v = whole(s.v)},
          .indexer =
              model::IndexerGeometry{
                  .heads = whole(s.index_heads), .dim = whole(s.index_dim), .topk = whole(s.topk)},
          .formats = {w, w, w, w, w, w}};
}

cost::SystemSpec system_of(const Setting& s) {
  cost::SystemSpec system;
  system.hbm_bytes_per_s = s.bytes * kPerSecond;
  const auto set = [&](MathFormat format, double rate) {
    system.peak_flop_per_s[static_cast<std::size_t>(format)] = rate * kPerSecond;
  };
  set(cost::math_format(s.weights), s.gemm_flops);
  set(MathFormat::kFp8, s.fp8_flops);
  set(MathFormat::kBf16, s.bf16_flops);
  return system;
}

}  // namespace

std::array<StageBound, model::kStageCount> stage_bounds(const Setting& setting,
                                                        const Sizes& sizes) {
  const auto whole = [](double x) { return static_cast<std::int64_t>(x); };
  const auto kv = setting.fp8_cache ? model::KvFormat::kFp8 : model::KvFormat::kBf16;
  const auto shape_of =
      setting.phase == perfdb::Phase::kContext ? cost::Shape::prefill : cost::Shape::decode;
  const auto shape = shape_of(whole(sizes.batch), whole(sizes.new_tokens), whole(sizes.past_tokens),
                              static_cast<int>(sizes.heads), kv);
  std::array<StageBound, model::kStageCount> bounds{};
  const auto cost = cost::layer_cost(layer_of(setting), shape);
  if (!cost) return bounds;
  const auto system = system_of(setting);
  for (const auto& stage : cost->stages()) {
    const auto bound = cost::bound(stage, system);
    bounds[static_cast<std::size_t>(stage.stage)] = {.math_ms = bound.math.millis(),
                                                     .memory_ms = bound.memory.millis()};
  }
  return bounds;
}

}  // namespace dsaperf::predict::stages
