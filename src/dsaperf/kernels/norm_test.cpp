#include "dsaperf/kernels/norm.hpp"

#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace dsaperf::kernels {
namespace {

using testing::bf16;
using testing::doubles;

TEST(NormReferenceTest, RmsNormOfAKnownRow) {
  const auto x = bf16({3, 4, 0, 0});  // mean square 6.25
  const std::vector<float> weight = {1, 2, 1, 1};
  std::vector<std::uint16_t> out(4);
  ASSERT_TRUE(rms_norm_reference(
      {.x = x.data(), .weight = weight.data(), .out = out.data(), .rows = 1, .dim = 4}));
  EXPECT_EQ(out, bf16({1.2, 3.2, 0, 0}));
}

TEST(NormReferenceTest, EpsKeepsARowOfZerosZero) {
  const auto x = bf16({0, 0});
  const std::vector<float> weight = {1, 1};
  std::vector<std::uint16_t> out(2, 0xabcd);
  ASSERT_TRUE(rms_norm_reference({.x = x.data(),
                                  .weight = weight.data(),
                                  .out = out.data(),
                                  .rows = 1,
                                  .dim = 2,
                                  .eps = 1e-6F}));
  EXPECT_EQ(out, bf16({0, 0}));
}

TEST(NormReferenceTest, LayerNormUsesThePopulationVariance) {
  const auto x = bf16({1, 3});  // mean 2, variance 1
  const std::vector<float> weight = {2, 2};
  const std::vector<float> bias = {0.5, 0.25};
  std::vector<std::uint16_t> out(2);
  ASSERT_TRUE(layer_norm_reference({.x = x.data(),
                                    .weight = weight.data(),
                                    .bias = bias.data(),
                                    .out = out.data(),
                                    .rows = 1,
                                    .dim = 2}));
  EXPECT_EQ(out, bf16({-1.5, 2.25}));
}

TEST(NormReferenceTest, InPlaceAndStridedRowsLeaveGapsAlone) {
  auto x = bf16({3, 4, 9, 6, 8, 9});
  const std::vector<float> weight = {1, 1};
  ASSERT_TRUE(rms_norm_reference({.x = x.data(),
                                  .weight = weight.data(),
                                  .out = x.data(),
                                  .rows = 2,
                                  .dim = 2,
                                  .x_stride = 3,
                                  .out_stride = 3}));
  const double factor = std::sqrt(12.5);
  EXPECT_EQ(x, bf16({3 / factor, 4 / factor, 9, 3 / factor, 4 / factor, 9}));
}

TEST(NormReferenceTest, NanStaysInItsRow) {
  const auto x = bf16({std::nan(""), 1, 1, 1});
  const std::vector<float> weight = {1, 1};
  std::vector<std::uint16_t> out(4);
  ASSERT_TRUE(rms_norm_reference({.x = x.data(),
                                  .weight = weight.data(),
                                  .out = out.data(),
                                  .rows = 2,
                                  .dim = 2,
                                  .x_stride = 2,
                                  .out_stride = 2}));
  const auto values = doubles(out);
  EXPECT_TRUE(std::isnan(values[0]) && std::isnan(values[1]));
  EXPECT_EQ(values[2], 1);
}

TEST(NormCheckTest, RefusesWhatContradictsItself) {
  EXPECT_TRUE(rms_norm_check({.dim = 4}));
  EXPECT_FALSE(rms_norm_check({.dim = 0}));
  EXPECT_FALSE(rms_norm_check({.rows = 1, .dim = 4}));
  EXPECT_FALSE(rms_norm_check({.dim = 4, .eps = std::nanf("")}));
  std::vector<float> weight(4);
  std::vector<std::uint16_t> x(8);
  EXPECT_FALSE(rms_norm_check({.x = x.data(),
                               .weight = weight.data(),
                               .out = x.data(),
                               .rows = 2,
                               .dim = 4,
                               .x_stride = 3,
                               .out_stride = 4}));
  EXPECT_FALSE(layer_norm_check(
      {.x = x.data(), .weight = weight.data(), .out = x.data(), .rows = 1, .dim = 4}))
      << "no bias";
}

}  // namespace
}  // namespace dsaperf::kernels
