// The kernel that combines partial results of split lists, against double.
#include "combine_launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/parts.cuh"

#include <gtest/gtest.h>

#include <random>

namespace dsaperf::kernels::sm90::sparse_mla {
namespace {

constexpr float kNothing = -1e30F;  // the largest score of a part with no rows

struct Sizes {
  int tokens, heads, parts, sm_count;
};

// Column d of a row of heads: pieces of 8 heads and 16 columns, whose lanes hold a head's columns
// 2 q, 2 q + 1, 2 q + 8, 2 q + 9.
float& partial_at(const PartsParams& params, std::int64_t row, int d) {
  const std::int64_t piece = row / 8 * 32 + d / 16;
  const std::int64_t lane = row % 8 * 4 + d % 8 / 2;
  const int word = d % 16 / 8 * 2 + d % 2;
  return reinterpret_cast<float*>(params.partial)[(piece * 32 + lane) * 4 + word];
}

class CombineEmulatedTest : public ::testing::TestWithParam<Sizes> {};

TEST_P(CombineEmulatedTest, WeighsThePartsByTheirLargestScores) {
  const auto [tokens, heads, parts, sm_count] = GetParam();
  const int tiles = head_tiles(heads);
  std::mt19937 engine(3);
  std::normal_distribution<float> normal;
  std::vector<float4> workspace(parts_workspace(tokens * tiles, parts) / sizeof(float4),
                                make_float4(NAN, NAN, NAN, NAN));
  constexpr std::uint16_t kPoison = 0x7fc1;
  std::vector<std::uint16_t> out(tokens * heads * kLatentDim + 64, kPoison);
  std::vector<float> lse(tokens * heads + 1, -7);
  const SparseMlaParams params{.kv = {},
                               .out = out.data(),
                               .lse = lse.data(),
                               .tokens = tokens,
                               .heads = heads,
                               .topk = 64 * parts,
                               .out_token_stride = std::int64_t{heads} * kLatentDim,
                               .out_head_stride = kLatentDim,
                               .lse_stride = heads,
                               .scale = 1};
  const PartsParams with = with_parts(params, parts, workspace.data());
  const auto row_of = [&](int token, int head, int part) {
    return ((static_cast<std::int64_t>(token) * tiles + head / 64) * parts + part) * 64 + head % 64;
  };
  for (int t = 0; t < tokens; ++t)
    for (int h = 0; h < heads; ++h)
      for (int p = 0; p < parts; ++p) {
        const bool empty = h == 1 || engine() % 4 == 0;  // head 1 has nothing at all
        const std::int64_t row = row_of(t, h, p);
        with.stats[row] = empty
                              ? make_float2(kNothing, 0)
                              : make_float2(20 * normal(engine), 1 + 60 * std::abs(normal(engine)));
        for (int d = 0; d < kLatentDim; ++d)
          partial_at(with, row, d) = empty ? 0 : 30 * normal(engine);
      }
  run_combine(with, sm_count, 1);
  for (int t = 0; t < tokens; ++t)
    for (int h = 0; h < heads; ++h) {
      double largest = kNothing, total = 0;
      for (int p = 0; p < parts; ++p)
        largest = std::max<double>(largest, with.stats[row_of(t, h, p)].x);
      std::vector<double> sum(kLatentDim), magnitude(kLatentDim);
      for (int p = 0; p < parts; ++p) {
        const std::int64_t row = row_of(t, h, p);
        const double weight = std::exp2(with.stats[row].x - largest);
        total += weight * with.stats[row].y;
        for (int d = 0; d < kLatentDim; ++d) {
          sum[d] += weight * partial_at(with, row, d);
          magnitude[d] += weight * std::abs(partial_at(with, row, d));
        }
      }
      const float got_lse = lse[t * heads + h];
      if (total == 0) {
        EXPECT_EQ(got_lse, -INFINITY);
      } else {
        // f32 roundings of the largest score and of the sum of at most 32 terms.
        const double expected = (largest + std::log2(total)) * std::log(2.0);
        EXPECT_NEAR(got_lse, expected, 1e-5 * (1 + std::abs(expected)));
      }
      for (int d = 0; d < kLatentDim; ++d) {
        const double expected = total == 0 ? 0 : sum[d] / total;
        // One rounding to bf16, and f32's of weights, products and sums: at most 100 of 2^-23.
        const double allowed = std::ldexp(std::abs(expected), -8) +
                               (total == 0 ? 0 : std::ldexp(100 * magnitude[d] / total, -23));
        const float got = bf16_to_float(out[(t * heads + h) * kLatentDim + d]);
        ASSERT_NEAR(got, expected, allowed) << "token " << t << " head " << h << " column " << d;
      }
    }
  EXPECT_EQ(lse.back(), -7);
  EXPECT_EQ(out.back(), kPoison);
}

INSTANTIATE_TEST_SUITE_P(, CombineEmulatedTest,
                         ::testing::Values(Sizes{1, 8, 2, 132}, Sizes{2, 16, 32, 132},
                                           Sizes{3, 16, 32, 8}, Sizes{1, 64, 9, 132},
                                           Sizes{3, 64, 17, 4}, Sizes{2, 128, 3, 132},
                                           Sizes{5, 128, 2, 4}, Sizes{1, 32, 8, 132},
                                           Sizes{5, 8, 4, 1}),
                         [](const auto& test) {
                           return "Tokens" + std::to_string(test.param.tokens) + "Heads" +
                                  std::to_string(test.param.heads) + "Parts" +
                                  std::to_string(test.param.parts) + "Sms" +
                                  std::to_string(test.param.sm_count);
                         });

}  // namespace
}  // namespace dsaperf::kernels::sm90::sparse_mla
