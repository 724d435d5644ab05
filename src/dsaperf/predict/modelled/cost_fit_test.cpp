#include "dsaperf/predict/modelled/cost_fit.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>

namespace dsaperf::predict::modelled {
namespace {

const std::vector<ExpertShape> kExperts = {
    {.hidden = 7168, .inter = 2048, .topk = 8, .experts = 256},
    {.hidden = 6144, .inter = 2048, .topk = 8, .experts = 256}};

// A card that reaches 0.6 of its math, 0.8 of its memory, 7 us late.
TEST(CostFitTest, FindsTheConstantsThatMadeTheRows) {
  const OperatorCost truth{.fixed_us = 7, .math_share = 0.6, .memory_share = 0.8};
  std::vector<CostSample> rows;
  for (int i = 0; i < 200; ++i) {
    const compatible::BoundParts parts{.math_ms = 1e-4 * std::pow(1.05, i),
                                       .memory_ms = 3e-3 * std::pow(1.02, i % 97)};
    rows.push_back({.measured_ms = truth.ms(parts),
                    .modelled_ms = [parts](const OperatorCost& cost) { return cost.ms(parts); }});
  }
  const auto found = fitted(rows, "gemm", {.fixed_us = 2, .math_share = 0.9, .memory_share = 0.4});
  EXPECT_NEAR(found.fixed_us, 7, 0.1);
  EXPECT_NEAR(found.math_share, 0.6, 0.01);
  EXPECT_NEAR(found.memory_share, 0.8, 0.01);
  EXPECT_LT(cost_error(rows, found).p90, 0.02);
  EXPECT_NEAR(cost_error(rows, {.fixed_us = 7, .math_share = 0.3, .memory_share = 0.4}).bias, 0.9,
              0.3);
}

TEST(OperatorCostsTest, ARowOfTheFormatGoesBeforeTheOneForAny) {
  const auto costs = OperatorCosts::shipped();
  ASSERT_TRUE(costs) << costs.error().message();
  EXPECT_NE(costs->of("gemm", "bfloat16").fixed_us, costs->of("gemm", "fp8_block").fixed_us);
  EXPECT_EQ(costs->of("gemm", "nvfp4").fixed_us, costs->of("gemm").fixed_us);
}

TEST(OperatorCostsTest, WhatIsMissingIsNamed) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "modelled.csv";
  const auto read = [&](const char* rows) {
    std::ofstream(path) << "operator,format,fixed_us,math_share,memory_share,link_share,rank_skew\n"
                        << rows;
    return OperatorCosts::read(path).error().message();
  };
  EXPECT_THAT(read("gemm,,1,0,1,1,0\n"), ::testing::HasSubstr("gemm: a share of 0"));
  EXPECT_THAT(read("gemm,bfloat16,1,1,1,1,0\n"), ::testing::HasSubstr("no row of gemm"));
}

// The committed constants are what the tables give, to the rounding of three digits and a search.
TEST(OperatorCostsTest, ShippedConstantsAreThoseOfTheTables) {
  const auto systems = testing::systems_tree();
  if (!systems) GTEST_SKIP() << testing::kNoSystems;
  const auto tree = perfdb::SystemsTree::open(*systems);
  ASSERT_TRUE(tree);
  const auto shipped = OperatorCosts::shipped();
  const auto fits = fit_costs(*tree, "h200_sxm", "sglang", kExperts);
  ASSERT_TRUE(shipped && fits);
  for (const FittedCost& fit : *fits)
    for (const CostField& field : kCostFields) {
      const double due = fit.cost.*field.value;
      EXPECT_NEAR(shipped->of(fit.op, fit.format).*field.value, due, 0.02 * std::abs(due))
          << fit.op << " " << fit.format << " " << field.name;
    }
}

}  // namespace
}  // namespace dsaperf::predict::modelled
