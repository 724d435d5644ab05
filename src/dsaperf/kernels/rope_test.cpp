#include "dsaperf/kernels/rope.hpp"

#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace dsaperf::kernels {
namespace {

using testing::bf16;
using testing::doubles;
using testing::normal_bf16;

// One token, one head, a quarter turn of the first pair, none of the second.
std::vector<double> quarter_turn(RopePairs pairs) {
  auto x = bf16({1, 2, 3, 4});
  const std::vector<float> table = {0, 1, 1, 0};  // cosines, sines
  const std::vector<std::int32_t> positions = {0};
  EXPECT_TRUE(rope_reference({.x = x.data(),
                              .cos_sin = table.data(),
                              .positions = positions.data(),
                              .tokens = 1,
                              .table_rows = 1,
                              .heads = 1,
                              .dim = 4,
                              .pairs = pairs}));
  return doubles(x);
}

TEST(RopeReferenceTest, RotatesInterleavedPairsInPlace) {
  EXPECT_EQ(quarter_turn(RopePairs::kInterleaved), (std::vector<double>{-2, 1, 3, 4}));
}

TEST(RopeReferenceTest, RotatesHalfSplitPairsInPlace) {
  EXPECT_EQ(quarter_turn(RopePairs::kHalfSplit), (std::vector<double>{-3, 2, 1, 4}));
}

TEST(RopeReferenceTest, DotProductsDependOnDistanceOnly) {
  const auto frequencies = rope_frequencies({.theta = 10000}, 64);
  const auto table = rope_table(frequencies, {5, 25, 1005, 1025});
  const auto q = normal_bf16(64, 1);
  const auto k = normal_bf16(64, 2);
  const auto dot_at = [&](std::int32_t q_row, std::int32_t k_row) {
    auto x = q;
    x.insert(x.end(), k.begin(), k.end());
    const std::vector<std::int32_t> rows = {q_row, k_row};
    EXPECT_TRUE(rope_reference({.x = x.data(),
                                .cos_sin = table.data(),
                                .positions = rows.data(),
                                .tokens = 2,
                                .table_rows = 4,
                                .heads = 1,
                                .dim = 64,
                                .token_stride = 64}));
    const auto values = doubles(x);
    double dot = 0;
    for (int d = 0; d < 64; ++d) dot += values[d] * values[64 + d];
    return dot;
  };
  // Every rotated value is off by at most 2^-8 of itself, so a dot product by at most 2 * 2^-8 *
  // |q| * |k|, and |q| = |k| = 8 or so; two of them are compared.
  const double tolerance = 2 * 2 * 0x1p-8 * 8 * 8;
  EXPECT_NEAR(dot_at(0, 1), dot_at(2, 3), tolerance);
  EXPECT_GT(std::abs(dot_at(0, 1) - dot_at(0, 2)), tolerance);
}

TEST(RopeTableTest, APositionHasTheSameRowWhereverItStands) {
  const auto frequencies = rope_frequencies({.theta = 10000}, 64);
  const auto table = rope_table(frequencies, {7, 3, 7, 1'000'000, 3});
  const auto row = [&](std::size_t t) {
    return std::vector(table.begin() + static_cast<std::ptrdiff_t>(t * 64),
                       table.begin() + static_cast<std::ptrdiff_t>((t + 1) * 64));
  };
  EXPECT_EQ(row(2), row(0));
  EXPECT_EQ(row(4), row(1));
  EXPECT_NE(row(1), row(0));
  EXPECT_EQ(row(3), rope_table(frequencies, {1'000'000}));
}

TEST(RopeReferenceTest, StridesReachEveryHeadAndNothingElse) {
  const int token_stride = 2 * 6 + 1;
  std::vector<std::uint16_t> x = bf16(std::vector<double>(2 * token_stride, 1));
  const std::vector<float> table = {0, 0, 1, 1};  // quarter turns: (1, 1) becomes (-1, 1)
  const std::vector<std::int32_t> positions = {0, 0};
  ASSERT_TRUE(rope_reference({.x = x.data(),
                              .cos_sin = table.data(),
                              .positions = positions.data(),
                              .tokens = 2,
                              .table_rows = 1,
                              .heads = 2,
                              .dim = 4,
                              .token_stride = token_stride,
                              .head_stride = 6}));
  const auto values = doubles(x);
  for (int t = 0; t < 2; ++t)
    for (int i = 0; i < token_stride; ++i)
      EXPECT_EQ(values[t * token_stride + i], i < 12 && (i % 6 == 0 || i % 6 == 2) ? -1 : 1) << i;
}

TEST(RopeReferenceTest, RotatesOutOfASourceAndLeavesItAsItIs) {
  const auto table = rope_table(rope_frequencies({}, 64), {7, 9});
  const std::vector<std::int32_t> positions = {0, 1};
  const auto source = normal_bf16(2 * 100, 3);
  std::vector<std::uint16_t> out(2 * 64);
  auto in_place = source;
  RopeParams params{.x = in_place.data(),
                    .cos_sin = table.data(),
                    .positions = positions.data(),
                    .tokens = 2,
                    .table_rows = 2,
                    .heads = 1,
                    .dim = 64,
                    .token_stride = 100};
  ASSERT_TRUE(rope_reference(params));
  params.x = out.data();
  params.token_stride = 64;
  params.source = source.data();
  params.source_token_stride = 100;
  ASSERT_TRUE(rope_reference(params));
  EXPECT_EQ(source, normal_bf16(2 * 100, 3));
  for (int t = 0; t < 2; ++t)
    EXPECT_TRUE(std::equal(&out[64 * t], &out[64 * t] + 64, &in_place[100 * t])) << t;

  params.source_token_stride = 63;
  EXPECT_EQ(rope_reference(params).error().code(), Errc::kInvalidArgument);
}

TEST(RopeReferenceTest, RefusesAPositionOutsideTheTable) {
  auto x = bf16({1, 2});
  const std::vector<float> table = {1, 0};
  for (const std::int32_t position : {-1, 1}) {
    const auto result = rope_reference({.x = x.data(),
                                        .cos_sin = table.data(),
                                        .positions = &position,
                                        .tokens = 1,
                                        .table_rows = 1,
                                        .heads = 1,
                                        .dim = 2});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Errc::kInvalidArgument);
  }
}

TEST(RopeFrequenciesTest, YarnKeepsFastPairsAndStretchesSlowOnes) {
  const RopeFrequencies yarn = {.theta = 10000, .factor = 40, .original_positions = 4096};
  const auto plain = rope_frequencies({.theta = 10000}, 64);
  const auto stretched = rope_frequencies(yarn, 64);
  EXPECT_EQ(stretched[0], plain[0]);
  EXPECT_DOUBLE_EQ(stretched[31], plain[31] / 40);
  for (int i = 0; i < 32; ++i) {
    const double turns = 4096 * plain[i] / (2 * std::numbers::pi);
    // One pair beyond either limit, the ramp is over: its ends are rounded outwards.
    if (turns > 32 * 1.34) {
      EXPECT_DOUBLE_EQ(stretched[i], plain[i]) << i;
    }
    if (turns < 1 / 1.34) {
      EXPECT_DOUBLE_EQ(stretched[i], plain[i] / 40) << i;
    }
    EXPECT_LE(stretched[i], plain[i]);
  }
}

}  // namespace
}  // namespace dsaperf::kernels
