#include "dsaperf/cost/bound.hpp"

#include "dsaperf/cost/testing/layers.hpp"

#include <gtest/gtest.h>

namespace dsaperf::cost {
namespace {

SystemSpec system() {
  return *find_system(DSAPERF_SOURCE_DIR "/data", "h200_sxm");
}

TEST(BoundTest, DecodeIsBoundByMemoryAndPrefillByMath) {
  const auto layer = testing::deepseek_v32();
  const auto decode = layer_cost(layer, Shape::decode(1, 1, 8191, 16, model::KvFormat::kBf16));
  const auto prefill = layer_cost(layer, Shape::prefill(1, 8192, 0, 16, model::KvFormat::kBf16));
  const auto* projection = decode->find(model::Stage::kOProjection);
  EXPECT_EQ(bound(*projection, system()).binds(), Binding::kMemory);
  EXPECT_EQ(bound(*prefill->find(model::Stage::kAttention), system()).binds(), Binding::kMath);
}

TEST(BoundTest, IsTheLongerOfMathAndMemory) {
  StageCost cost;
  cost.flops[static_cast<std::size_t>(MathFormat::kBf16)] = 989e12;
  cost.traffic.weights = 4.8e12;
  const auto both = bound(cost, system());
  EXPECT_DOUBLE_EQ(both.math.value, 1e6);
  EXPECT_DOUBLE_EQ(both.memory.value, 1e6);
  cost.traffic.kv_cache = 4.8e12;
  EXPECT_DOUBLE_EQ(bound(cost, system()).time().value, 2e6);
}

TEST(BoundTest, AnUnknownRateIsSaidAndNotGuessed) {
  StageCost cost;
  cost.flops[static_cast<std::size_t>(MathFormat::kFp8)] = 1e15;
  const auto a100 = find_system(DSAPERF_SOURCE_DIR "/data", "a100_sxm");
  const auto unknown = bound(cost, *a100);
  EXPECT_FALSE(unknown.math_known);
  EXPECT_EQ(unknown.math, Micros{});
}

TEST(BoundTest, OfALayerIsTheSumOfItsStages) {
  const auto cost =
      layer_cost(testing::deepseek_v32(), Shape::decode(16, 1, 8191, 16, model::KvFormat::kFp8));
  Micros sum;
  for (const auto& stage : cost->stages()) sum += bound(stage, system()).time();
  EXPECT_EQ(bound(*cost, system()), sum);
}

}  // namespace
}  // namespace dsaperf::cost
