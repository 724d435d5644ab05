#include "dsaperf/kernels/quantise.hpp"

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <cmath>
#include <limits>

namespace dsaperf::kernels {
namespace {

using testing::bf16;
using testing::doubles;
using testing::normal_bf16;

TEST(QuantiseTest, HadamardIsTheSylvesterMatrix) {
  for (int column = 0; column < kIndexDim; column += 9) {
    std::array<double, kIndexDim> x{};
    x[column] = std::sqrt(128.0);
    hadamard_128(x.data());
    for (int row = 0; row < kIndexDim; ++row)
      ASSERT_NEAR(x[row], std::popcount(static_cast<unsigned>(row & column)) % 2 == 0 ? 1 : -1,
                  1e-15);
  }
}

TEST(QuantiseTest, HadamardKeepsDotProducts) {
  auto a = doubles(normal_bf16(kIndexDim, 1));
  auto b = doubles(normal_bf16(kIndexDim, 2));
  const auto dot = [&] {
    double sum = 0;
    for (int d = 0; d < kIndexDim; ++d) sum += a[d] * b[d];
    return sum;
  };
  const double before = dot();
  hadamard_128(a.data());
  hadamard_128(b.data());
  EXPECT_NEAR(dot(), before, 1e-12);
}

TEST(QuantiseTest, AGroupIsWithinHalfAStepOfItsValues) {
  const auto x = doubles(normal_bf16(128, 3));
  double absmax = 0;
  for (const double value : x) absmax = std::max(absmax, std::abs(value));
  for (const ScaleFormat format : {ScaleFormat::kUe8m0, ScaleFormat::kF32}) {
    std::array<std::uint8_t, 128> values{};
    const float scale = quantise_group(x.data(), 128, format, values.data());
    EXPECT_LE(absmax / scale, 448 * (1 + 0x1p-23))
        << "nothing saturates but by the scale's rounding";
    for (int i = 0; i < 128; ++i) {
      // 4 significant bits: half a step is 2^-4 of the value, or 2^-10 scales below 2^-6.
      const double tolerance = std::max(std::abs(x[i]) * 0x1p-4, scale * 0x1p-10);
      ASSERT_NEAR(double{e4m3_to_float(values[i])} * scale, x[i], tolerance);
    }
  }
}

TEST(QuantiseTest, NanMarksItsValueAndInfinitySaturates) {
  const std::array<double, 3> x = {std::nan(""), 448, -1};
  std::array<std::uint8_t, 3> values{};
  EXPECT_EQ(quantise_group(x.data(), 3, ScaleFormat::kUe8m0, values.data()), 1);
  EXPECT_EQ(values[0], 0x7f);
  EXPECT_EQ(values[1], 0x7e);
  const std::array<double, 2> infinite = {-std::numeric_limits<double>::infinity(), 1};
  EXPECT_TRUE(
      std::isfinite(quantise_group(infinite.data(), 2, ScaleFormat::kUe8m0, values.data())));
  EXPECT_EQ(values[0], 0xfe);
}

TEST(QuantiseGroupsReferenceTest, AShortLastGroupHasItsOwnScale) {
  auto x = bf16(std::vector<double>(2 * 130, 448));
  x[128] = x[129] = bf16_from(7);
  std::vector<std::uint8_t> values(2 * 130);
  std::vector<float> scales(4);
  ASSERT_TRUE(quantise_groups_reference({.x = x.data(),
                                         .values = values.data(),
                                         .scales = scales.data(),
                                         .rows = 2,
                                         .dim = 130,
                                         .x_stride = 130,
                                         .values_stride = 130,
                                         .scales_stride = 2}));
  EXPECT_EQ(scales, (std::vector<float>{1, 0x1p-6F, 1, 1}));
  EXPECT_EQ(e4m3_to_float(values[129]), 448);
}

TEST(IndexerQuantiseReferenceTest, FoldsTheScaleIntoTheHeadWeights) {
  const auto x = normal_bf16(3 * 128, 5);
  std::vector<std::uint8_t> values(3 * 128);
  std::vector<float> scales(3);
  std::vector<float> weights = {1, -2, 0};
  ASSERT_TRUE(indexer_quantise_reference({.x = x.data(),
                                          .values = values.data(),
                                          .scales = scales.data(),
                                          .weights = weights.data(),
                                          .weights_out = weights.data(),
                                          .rows = 3,
                                          .x_stride = 128,
                                          .weight_factor = 0.5F}));
  EXPECT_EQ(weights, (std::vector<float>{0.5F * scales[0], -scales[1], 0}));
  auto row = doubles({x.begin() + 128, x.begin() + 256});
  hadamard_128(row.data());
  for (int d = 0; d < 128; ++d) EXPECT_EQ(values[128 + d], e4m3_from(row[d] / scales[1]));
}

TEST(QuantiseCheckTest, RefusesWhatContradictsItself) {
  std::vector<std::uint16_t> x(256);
  std::vector<std::uint8_t> values(256);
  std::vector<float> scales(2);
  IndexerQuantiseParams p = {
      .x = x.data(), .values = values.data(), .scales = scales.data(), .rows = 2, .x_stride = 128};
  EXPECT_TRUE(indexer_quantise_check(p));
  p.weights = scales.data();
  EXPECT_FALSE(indexer_quantise_check(p));
  p = {.x = x.data(), .values = values.data(), .rows = 2, .x_stride = 128};
  EXPECT_FALSE(indexer_quantise_check(p)) << "no place for the scales";
  EXPECT_FALSE(quantise_groups_check({.rows = 1, .dim = 128}));
  EXPECT_TRUE(quantise_groups_check({.rows = 0, .dim = 128}));
}

}  // namespace
}  // namespace dsaperf::kernels
