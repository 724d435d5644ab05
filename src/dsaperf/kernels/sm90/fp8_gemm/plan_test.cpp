#include "dsaperf/kernels/sm90/fp8_gemm/plan.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/testing/gemm_shapes.hpp"

#include <gtest/gtest.h>

#include <set>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr int kSmsOfH200 = 132;

Fp8GemmPlan plan_of(const testing::GemmShape& shape) {
  const auto steps = static_cast<int>(ceil_div(shape.k, kQuantGroup));
  return plan_fp8_gemm(shape.m, shape.n, steps, steps % kManyRowsScaleSteps == 0, kSmsOfH200);
}

TEST(Fp8GemmPlanTest, WhatIsTriedOnAGpuTakesEveryTile) {
  std::set<const ManyRowsTile*> taken;
  for (const auto& shape : testing::kGemmShapes) taken.insert(plan_of(shape).many_rows);
  for (const auto& tile : kManyRowsTiles)
    EXPECT_TRUE(taken.contains(&tile)) << tile.tile_m << " x " << tile.tile_n << ", " << tile.ctas;
  EXPECT_TRUE(taken.contains(nullptr));
}

TEST(Fp8GemmPlanTest, UpToSixtyFourRowsTheKernelAndItsPartsAreNoMatterOfTheirNumber) {
  for (const std::int64_t n : {128, 2176, 24576}) {
    const int parts = plan_of({1, n, 7168}).parts;
    for (std::int64_t m = 1; m <= 64; ++m) {
      const auto plan = plan_of({m, n, 7168});
      EXPECT_EQ(plan.many_rows, nullptr) << m;
      EXPECT_EQ(plan.parts, parts) << m;
    }
  }
}

TEST(Fp8GemmPlanTest, ScalesThatCannotBeFetchedFourAtATimeLeaveFewRowsForAnyNumber) {
  EXPECT_NE(plan_of({4096, 2176, 7168}).many_rows, nullptr);
  EXPECT_EQ(plan_of({4096, 2176, 7168 + 128}).many_rows, nullptr);
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
