#include "dsaperf/predict/compatible/gemm_operator.hpp"

#include <gtest/gtest.h>

namespace dsaperf::predict::compatible {
namespace {

// 10 TFLOP/s and 1 TB/s: [m, 1000] x [1000, 1000] takes 0.2 us a row and, in bytes, at least 1 us.
const GemmBound kBound{.flop_per_s = 1e13, .bytes_per_s = 1e12, .bytes_per_value = 1};
constexpr modelled::OperatorCost kCost{.fixed_us = 5, .math_share = 0.5, .memory_share = 0.5};

// A kernel whose rows are `ms` of how long the model thinks that they take.
template <typename Ms>
GemmOperator kernels(const Ms& ms) {
  perfdb::GemmTable table;
  table.kinds.push_back({.gemm_dtype = "fp8_block", .kernel_source = "one"});
  for (std::int32_t m = 1; m <= 1000; ++m)
    table.rows.push_back(
        {.m = m,
         .n = 1000,
         .k = 1000,
         .latency = Micros::from_millis(ms(kCost.ms(kBound.parts(m, 1000, 1000))))});
  const auto sites = GemmSites::of_kernels(table, "fp8_block", kBound, kCost);
  return *GemmOperator::make(std::make_shared<const GemmSites>(sites), 1000, 1000);
}

TEST(GemmOperatorTest, RowsThatHoldTheHostsTimeAreModelled) {
  const double busy = kCost.ms(kBound.parts(3, 1000, 1000));
  const auto gemm =
      kernels([&](double kernel) { return kernel == busy ? 0.4 : std::max(kernel, 0.15); });
  for (const double m : {2, 3}) {
    EXPECT_DOUBLE_EQ(gemm.ms(m), kCost.ms(kBound.parts(m, 1000, 1000)));
    EXPECT_EQ(gemm.region(m), CurveRegion::kModelled);
  }
  // What takes longer than the host is the kernel's own.
  EXPECT_EQ(gemm.region(900), CurveRegion::kExact);
}

TEST(GemmOperatorTest, RowsOfAKernelStayAsMeasured) {
  const auto gemm = kernels([](double kernel) { return 1.7 * kernel; });
  EXPECT_DOUBLE_EQ(gemm.ms(2), 1.7 * kCost.ms(kBound.parts(2, 1000, 1000)));
  EXPECT_EQ(gemm.region(2), CurveRegion::kExact);
}

}  // namespace
}  // namespace dsaperf::predict::compatible
