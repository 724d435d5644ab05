// The kernel that combines partial results of split lists, against double.
#include "dsaperf/kernels/sm90/sparse_mla/combine.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/parts.cuh"

#include <gtest/gtest.h>

#include <random>

namespace dsaperf::kernels::sm90::sparse_mla {
namespace {

constexpr float kNothing = -1e30F;  // the largest score of a part with no rows

struct Sizes {
  int tokens, heads, parts;
};

class CombineEmulatedTest : public ::testing::TestWithParam<Sizes> {};

TEST_P(CombineEmulatedTest, WeighsThePartsByTheirLargestScores) {
  const auto [tokens, heads, parts] = GetParam();
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
          with.partial[row * kLatentDim + d] = empty ? 0 : 30 * normal(engine);
      }
  emulated::launch(tokens * heads, kCombineThreads, 1, 1, [&] { combine_parts_kernel(with); });
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
          sum[d] += weight * with.partial[row * kLatentDim + d];
          magnitude[d] += weight * std::abs(with.partial[row * kLatentDim + d]);
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
                         ::testing::Values(Sizes{1, 8, 2}, Sizes{2, 16, 32}, Sizes{1, 64, 9},
                                           Sizes{2, 128, 3}, Sizes{1, 32, 8}),
                         [](const auto& test) {
                           return "Tokens" + std::to_string(test.param.tokens) + "Heads" +
                                  std::to_string(test.param.heads) + "Parts" +
                                  std::to_string(test.param.parts);
                         });

}  // namespace
}  // namespace dsaperf::kernels::sm90::sparse_mla
