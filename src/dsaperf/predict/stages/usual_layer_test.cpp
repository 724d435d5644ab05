#include "dsaperf/predict/stages/usual_layer.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

perfdb::SystemFile card() {
  perfdb::SystemFile system;
  system.name = "a_card";
  system.mem_bw = 4e12;
  system.rates = {{"bfloat16", 1e15}, {"fp8", 2e15}};
  system.sm_version = 90;
  return system;
}

double sum(const std::vector<UsualLayer::Share>& shares) {
  double ms = 0;
  for (const auto& share : shares) ms += share.ms;
  return ms;
}

TEST(UsualLayerTest, StagesAddUpToTheLayer) {
  for (const Phase phase : {Phase::kContext, Phase::kGeneration}) {
    const auto layer = UsualLayer::make(card(), {.architecture = "DeepseekV32ForCausalLM"}, phase);
    ASSERT_TRUE(layer) << layer.error().message();
    const bool context = phase == Phase::kContext;
    for (const double ms : {1e-4, 0.1, 100.0}) {  // below the bounds, between, beyond all stages
      for (const double share : {1.0, 0.25}) {
        const LayerShape shape{.phase = phase,
                               .heads = 16,
                               .batch = context ? 1 : 32,
                               .new_tokens = context ? 4096 : 1,
                               .past_tokens = 4096,
                               .full_layer_share = share};
        EXPECT_NEAR(sum(layer->split(shape, ms)), ms, 1e-9 * ms);
      }
    }
  }
}

TEST(UsualLayerTest, NoStageIsFasterThanItsBoundUnlessTheLayerIs) {
  const auto layer =
      UsualLayer::make(card(), {.architecture = "DeepseekV32ForCausalLM"}, Phase::kContext);
  ASSERT_TRUE(layer);
  const LayerShape shape{.heads = 16, .batch = 1, .new_tokens = 8192};
  for (const auto& share : layer->split(shape, 50)) EXPECT_GE(share.ms, share.bound.ms());
}

TEST(UsualLayerTest, TheProjectionOfTheOutputIsBoundByItsArithmetic) {
  const auto layer =
      UsualLayer::make(card(), {.architecture = "DeepseekV32ForCausalLM"}, Phase::kContext);
  ASSERT_TRUE(layer);
  const auto shares = layer->split({.heads = 16, .batch = 1, .new_tokens = 8192}, 50);
  const auto found = std::find_if(shares.begin(), shares.end(), [](const auto& share) {
    return share.stage == model::name(model::Stage::kOProjection);
  });
  ASSERT_NE(found, shares.end());
  // 8192 tokens, 16 heads of 128 into 7168, two operations each, 2e15 a second.
  EXPECT_NEAR(found->bound.math_ms, 2.0 * 8192 * 16 * 128 * 7168 / 2e15 * 1e3, 1e-9);
}

TEST(UsualLayerTest, ACardWithoutARateIsRefused) {
  auto system = card();
  system.rates.erase("fp8");
  EXPECT_FALSE(
      UsualLayer::make(system, {.architecture = "DeepseekV32ForCausalLM"}, Phase::kContext));
}

}  // namespace
}  // namespace dsaperf::predict::stages
