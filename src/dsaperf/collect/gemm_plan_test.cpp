#include "dsaperf/collect/gemm_plan.hpp"

#include "dsaperf/cost/testing_card.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace dsaperf::collect {
namespace {

using model::WeightFormat;
using ::testing::HasSubstr;

model::ModelSpec model_of_experts() {
  model::ModelSpec model;
  model.name = "m";
  model.hidden = 7168;
  model.vocab = 129280;
  model.intermediate = 18432;
  model.moe = {.routed_experts = 256, .shared_experts = 1, .intermediate = 2048};
  return model;
}

std::set<std::pair<std::int64_t, std::int64_t>> shapes(const Plan& plan, WeightFormat format) {
  std::set<std::pair<std::int64_t, std::int64_t>> result;
  for (const auto& what : plan.cases) {
    if (what.gemm == format) result.emplace(what.product->n, what.product->k);
  }
  return result;
}

TEST(GemmPlanTest, HoldsWhatARankHasOfEachProduct) {
  const auto plan = make_gemm_plan(model_of_experts(),
                                   {.tokens = standard_tokens(),
                                    .formats = {WeightFormat::kFp8Block, WeightFormat::kBf16},
                                    .launches = {Launch::kGraph}},
                                   cost::testing::card());
  ASSERT_TRUE(plan) << plan.error().message();
  const auto fp8 = shapes(*plan, WeightFormat::kFp8Block);
  EXPECT_EQ(fp8.size(), 20U) << "gate and up, down; shared and dense; 1 ... 16 ranks";
  EXPECT_TRUE(fp8.contains({4096, 7168}));
  EXPECT_TRUE(fp8.contains({7168, 2048 / 8}));
  EXPECT_TRUE(fp8.contains({2 * 18432 / 16, 7168}));
  const auto bf16 = shapes(*plan, WeightFormat::kBf16);
  // Beside them the logits; the router is as large as gate and up of a shared expert's 16th part.
  EXPECT_EQ(bf16.size(), 20U + 5);
  EXPECT_TRUE(bf16.contains({256, 7168}));
  EXPECT_TRUE(bf16.contains({129280 / 16, 7168}));
  EXPECT_EQ(plan->cases.size(), 25 * (fp8.size() + bf16.size()));
}

TEST(GemmPlanTest, LeavesOutWhatDoesNotFitWithItsReason) {
  const auto plan = make_gemm_plan(
      model_of_experts(),
      {.tokens = {1, 32768}, .formats = {WeightFormat::kBf16}, .launches = {Launch::kGraph}},
      cost::testing::card(2));
  ASSERT_TRUE(plan);
  ASSERT_FALSE(plan->left_out.empty());
  EXPECT_THAT(plan->left_out.front().reason, HasSubstr("1.8 GiB of test_card"));
}

TEST(GemmPlanTest, TokensOfAGridAreThoseOfItsBatches) {
  const auto grid = parse_grid(R"(
context: [{batch: [1, 2], new: [64, 128], past: [0, 1024]}]
generation: [{batch: [8], past: [100]}]
)");
  EXPECT_EQ(tokens_of(*grid), (std::vector<std::int64_t>{8, 64, 128, 256}));
}

TEST(GemmPlanTest, OfAModelWithoutExpertsIsRefused) {
  auto model = model_of_experts();
  model.moe.shared_experts = 0;
  EXPECT_EQ(make_gemm_plan(model, {}, cost::testing::card()).error().code(), Errc::kUnsupported);
}

TEST(GemmCostTest, CountsEachByteOnce) {
  const auto cost = gemm_cost({.m = 2, .n = 256, .k = 128}, WeightFormat::kBf16);
  EXPECT_EQ(cost.total_flops().value, 2.0 * 2 * 256 * 128);
  EXPECT_EQ(cost.traffic.total(), 2.0 * (2 * 128 + 256 * 128 + 2 * 256));
  const auto fp8 = gemm_cost({.m = 2, .n = 256, .k = 128}, WeightFormat::kFp8Block);
  EXPECT_EQ(fp8.traffic.total(), 2 * 128 + 256 * 128 + 4 * 2 + 2 * 2 * 256)
      << "a scale for each of two blocks of weights";
}

}  // namespace
}  // namespace dsaperf::collect
