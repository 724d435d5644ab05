#include "dsaperf/kernels/cpu/cpu.hpp"

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

// The f32 paths against the double references: same parameters, separate outputs.
namespace dsaperf::kernels {
namespace {

using testing::bf16;
using testing::doubles;
using testing::normal_bf16;

constexpr int kThreads = 3;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Non-finite positions first, then values: bf16 rounds half a unit (2^-8 of the value at worst) on
// either side, and the f32 sum before it is off by `sum_error`.
void expect_close(const std::vector<std::uint16_t>& got, const std::vector<std::uint16_t>& want,
                  double sum_error) {
  ASSERT_EQ(got.size(), want.size());
  const auto a = doubles(got);
  const auto b = doubles(want);
  for (std::size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::isnan(a[i]), std::isnan(b[i])) << i;
    if (std::isnan(b[i])) continue;
    ASSERT_NEAR(a[i], b[i], 2 * 0x1p-8 * std::abs(b[i]) + sum_error) << i;
  }
}

TEST(CpuGemmTest, AgreesWithTheReferenceForEveryLayoutAndOddSize) {
  for (const std::int64_t n : {1, 255, 300}) {
    for (const WeightLayout layout : {WeightLayout::kOutIn, WeightLayout::kInOut}) {
      const std::int64_t m = 5;
      const std::int64_t k = 130;
      const std::int64_t batch = 3;
      const auto x = normal_bf16(m * batch * k, 1);
      const auto w = normal_bf16(batch * n * k, 2);
      std::vector<std::uint16_t> got(m * batch * (n + 1), 0x1234);
      auto want = got;
      GemmParams p = {.x = x.data(),
                      .w = w.data(),
                      .y = got.data(),
                      .m = m,
                      .n = n,
                      .k = k,
                      .batch = batch,
                      .x_stride = batch * k,
                      .w_stride = layout == WeightLayout::kOutIn ? k : n,
                      .y_stride = batch * (n + 1),
                      .x_batch_stride = k,
                      .w_batch_stride = n * k,
                      .y_batch_stride = n + 1,
                      .w_layout = layout};
      ASSERT_TRUE(cpu::gemm(p, kThreads));
      p.y = want.data();
      ASSERT_TRUE(gemm_reference(p));
      // 130 products of size about 1, each sum rounded to 2^-24 of at most 130 * 16.
      expect_close(got, want, 130 * 130 * 16 * 0x1p-24);
    }
  }
}

TEST(CpuGemmTest, F32OutputAndEmptyInnerDimension) {
  std::vector<float> y = {7, 7};
  ASSERT_TRUE(cpu::gemm(
      {.x = y.data(), .w = y.data(), .y = y.data(), .m = 1, .n = 2, .output = GemmOutput::kF32},
      kThreads));
  EXPECT_EQ(y, (std::vector<float>{0, 0}));
}

TEST(CpuFp8GemmTest, AgreesWithTheReference) {
  const std::int64_t m = 3, n = 200, k = 300;
  std::mt19937 engine(4);
  std::vector<std::uint8_t> x(m * k), w(n * k);
  for (auto* values : {&x, &w})
    for (auto& value : *values) value = e4m3_from(std::normal_distribution<double>()(engine));
  std::vector<float> x_scales(m * 3, 0.5F), w_scales(2 * 3, 0.25F);
  x_scales[4] = 3;
  w_scales[5] = 1.7F;
  std::vector<std::uint16_t> got(m * n), want(m * n);
  Fp8GemmParams p = {.x = x.data(),
                     .x_scales = x_scales.data(),
                     .w = w.data(),
                     .w_scales = w_scales.data(),
                     .y = got.data(),
                     .m = m,
                     .n = n,
                     .k = k,
                     .x_stride = k,
                     .x_scales_stride = 3,
                     .w_stride = k,
                     .w_scales_stride = 3,
                     .y_stride = n};
  ASSERT_TRUE(cpu::fp8_gemm(p, kThreads));
  p.y = want.data();
  ASSERT_TRUE(fp8_gemm_reference(p));
  // 300 products below 9 * 5.1 (scales): sums below 300 * 46, each of 300 additions 2^-24 of that.
  expect_close(got, want, 300 * 300 * 46 * 0x1p-24);
}

TEST(CpuTopkTest, EqualsTheReferenceAsASetWithTiesNanAndInfinity) {
  std::mt19937 engine(11);
  for (const int topk : {64, 65, 2048, 4096}) {
    for (const std::int64_t columns : {0, 1, 63, 64, 65, 2048, 5000}) {
      std::vector<float> scores(3 * columns);
      for (auto& score : scores) score = static_cast<float>(engine() % 40);  // many ties
      for (std::size_t i = 0; i < scores.size(); i += 7)
        scores[i] = i % 2 == 0 ? std::nanf("") : (i % 3 == 0 ? kInfinity : -kInfinity);
      std::vector<std::int32_t> got(3 * topk, 7), want(3 * topk, 8);
      TopkParams p = {.scores = scores.data(),
                      .indices = got.data(),
                      .rows = 3,
                      .columns = columns,
                      .topk = topk,
                      .scores_stride = columns,
                      .indices_stride = topk};
      ASSERT_TRUE(cpu::topk(p, kThreads));
      p.indices = want.data();
      ASSERT_TRUE(topk_reference(p));
      for (int r = 0; r < 3; ++r) {
        std::sort(got.begin() + r * topk, got.begin() + (r + 1) * topk);
        std::sort(want.begin() + r * topk, want.begin() + (r + 1) * topk);
      }
      EXPECT_EQ(got, want) << topk << " of " << columns;
    }
  }
}

struct Keys {
  explicit Keys(std::int64_t count) : values(count * kIndexDim), scales(count) {
    std::mt19937 engine(3);
    std::normal_distribution<double> normal;
    for (auto& value : values) value = e4m3_from(normal(engine));
    for (auto& scale : scales) scale = static_cast<float>(std::exp(normal(engine)));
  }
  std::vector<std::uint8_t> values;
  std::vector<float> scales;
};

TEST(CpuIndexerScoresTest, AgreesWithTheReferenceForEveryHeadCount) {
  for (const int heads : {8, 16, 32, 64}) {
    const std::int64_t tokens = 4, count = 1500;
    Keys keys(count);
    Keys queries(tokens * heads);
    queries.values[130] = 0x7f;
    keys.scales[77] = std::nanf("");
    std::vector<float> weights(tokens * heads);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = i % 3 == 0 ? -0.5F : 0.25F;
    const std::vector<std::int32_t> start = {0, 1200, 10, 5}, end = {1500, 1300, 9, 1025};
    std::vector<float> got(tokens * count, -7), want = got;
    IndexerScoresParams p = {.q = queries.values.data(),
                             .weights = weights.data(),
                             .k = keys.values.data(),
                             .k_scales = keys.scales.data(),
                             .start = start.data(),
                             .end = end.data(),
                             .scores = got.data(),
                             .tokens = tokens,
                             .keys = count,
                             .heads = heads,
                             .dim = kIndexDim,
                             .scores_stride = count};
    ASSERT_TRUE(cpu::indexer_scores(p, kThreads));
    p.scores = want.data();
    ASSERT_TRUE(indexer_scores_reference(p));
    for (std::size_t i = 0; i < got.size(); ++i) {
      ASSERT_EQ(std::isnan(got[i]), std::isnan(want[i])) << i;
      ASSERT_EQ(got[i] == -7, want[i] == -7) << i;
      if (std::isnan(want[i]) || want[i] == -7) continue;
      // heads terms, each a dot product of 128 products of size about 1 (|dot| < 128 * 4 say):
      // 128 + heads roundings of 2^-24 of the sum of magnitudes, times the key's scale.
      const double magnitude = heads * 0.5 * 60 * keys.scales[i % count];
      ASSERT_NEAR(got[i], want[i], (128 + heads) * 0x1p-24 * magnitude) << i;
    }
  }
}

TEST(CpuPagedIndexerScoresTest, AgreesWithTheReferenceForEveryQLen) {
  for (int q_len = 1; q_len <= 8; ++q_len) {
    const std::int64_t batch = 3;
    const std::vector<std::int32_t> context = {130, 0, q_len};
    const std::vector<std::int32_t> table = {4, 2, 0, /**/ 0, 0, 0, /**/ 3, 0, 0};
    std::vector<std::uint8_t> pages(5 * kIndexPageBytes);
    Keys keys(5 * 64);
    for (int page = 0; page < 5; ++page) {
      std::memcpy(&pages[page * kIndexPageBytes], &keys.values[page * 64 * 128], 64 * 128);
      std::memcpy(&pages[page * kIndexPageBytes + 8192], &keys.scales[page * 64], 256);
    }
    Keys queries(batch * q_len * 8);
    const std::vector<float> weights(batch * q_len * 8, 0.125F);
    std::vector<float> got(batch * q_len * 140, -7), want = got;
    PagedIndexerScoresParams p = {.q = queries.values.data(),
                                  .weights = weights.data(),
                                  .pages = pages.data(),
                                  .block_table = table.data(),
                                  .context_length = context.data(),
                                  .scores = got.data(),
                                  .batch = batch,
                                  .q_len = q_len,
                                  .heads = 8,
                                  .dim = 128,
                                  .max_context = 135,
                                  .page_stride_bytes = kIndexPageBytes,
                                  .block_table_stride = 3,
                                  .scores_stride = 140,
                                  .outside = OutsideScores::kMinusInfinity};
    ASSERT_TRUE(cpu::paged_indexer_scores(p, kThreads));
    p.scores = want.data();
    ASSERT_TRUE(paged_indexer_scores_reference(p));
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isinf(want[i])) {
        ASSERT_EQ(got[i], want[i]) << i;
      } else {
        ASSERT_NEAR(got[i], want[i], (128 + 8) * 0x1p-24 * 60 * 20) << i;
      }
    }
  }
}

TEST(CpuSparseMlaTest, AgreesWithTheReferenceOnOddLists) {
  for (const int heads : {8, 16, 32, 64, 128}) {
    const std::int64_t tokens = 6, rows = 90;
    const int topk = 70;
    const auto q = normal_bf16(tokens * heads * kKeyDim, 1);
    auto cache = normal_bf16(rows * kKeyDim, 2);
    cache[13 * kKeyDim] = bf16_from(std::nan(""));
    std::vector<std::int32_t> indices(tokens * topk, -1);
    std::mt19937 engine(heads);
    for (int t = 1; t < tokens; ++t)  // token 0 selects nothing
      for (int i = 0; i < topk; ++i)
        indices[t * topk + i] = static_cast<std::int32_t>(engine() % 100) - 5;  // odd ones too
    for (auto& index : indices)
      if (index == 13) index = 14;
    indices[3 * topk + 60] = 13;  // only token 3 sees NaN
    const std::vector<std::int32_t> lengths = {70, 70, 0, 70, 5, 200};
    std::vector<std::uint16_t> got(tokens * heads * kLatentDim), want = got;
    std::vector<float> got_lse(tokens * heads), want_lse = got_lse;
    SparseMlaParams p = {.q = q.data(),
                         .kv = {.data = cache.data(), .rows = rows, .row_stride_bytes = 1152},
                         .indices = indices.data(),
                         .topk_length = lengths.data(),
                         .out = got.data(),
                         .lse = got_lse.data(),
                         .tokens = tokens,
                         .heads = heads,
                         .topk = topk,
                         .q_token_stride = heads * kKeyDim,
                         .q_head_stride = kKeyDim,
                         .indices_stride = topk,
                         .out_token_stride = heads * kLatentDim,
                         .out_head_stride = kLatentDim,
                         .lse_stride = heads,
                         .scale = 0.06F};
    ASSERT_TRUE(cpu::sparse_mla(p, kThreads));
    p.out = want.data();
    p.lse = want_lse.data();
    ASSERT_TRUE(sparse_mla_reference(p));
    // A score is a sum of 576 products, |sum of magnitudes| < 576: off by 576^2 * 2^-24 * scale =
    // 0.0012 at the very worst, in practice by its root; weights by as much of themselves, and
    // values are below 5.
    expect_close(got, want, 0.0012 * 5);
    for (std::size_t i = 0; i < got_lse.size(); ++i) {
      ASSERT_EQ(std::isnan(got_lse[i]), std::isnan(want_lse[i])) << i;
      if (std::isinf(want_lse[i])) {
        ASSERT_EQ(got_lse[i], want_lse[i]);
      } else if (!std::isnan(want_lse[i])) {
        ASSERT_NEAR(got_lse[i], want_lse[i], 0.0012);
      }
    }
  }
}

TEST(CpuSparseMlaTest, DuplicatesAreWeighedAndFp8RowsRead) {
  std::vector<std::uint8_t> cache(2 * kKvRowBytesFp8, 0x3c);  // 1.5 everywhere
  const float scales[4] = {1, 0.3F, 2, 8};
  for (int r = 0; r < 2; ++r) std::memcpy(&cache[r * 656 + 512], scales, sizeof scales);
  const auto q = normal_bf16(8 * kKeyDim, 9, 0.01);
  const std::vector<std::int32_t> indices = {0, 1, 0, 0};
  std::vector<std::uint16_t> got(8 * kLatentDim), want = got;
  SparseMlaParams p = {.q = q.data(),
                       .kv = {.data = cache.data(),
                              .format = KvRows::Format::kFp8,
                              .rows = 2,
                              .row_stride_bytes = 656},
                       .indices = indices.data(),
                       .out = got.data(),
                       .tokens = 1,
                       .heads = 8,
                       .topk = 4,
                       .q_token_stride = 8 * kKeyDim,
                       .q_head_stride = kKeyDim,
                       .indices_stride = 4,
                       .out_token_stride = 8 * kLatentDim,
                       .out_head_stride = kLatentDim,
                       .scale = 0.06F};
  ASSERT_TRUE(cpu::sparse_mla(p, kThreads));
  p.out = want.data();
  ASSERT_TRUE(sparse_mla_reference(p));
  expect_close(got, want, 1e-4);
}

TEST(CpuTest, ResultsDoNotDependOnTheNumberOfThreads) {
  const auto x = normal_bf16(7 * 256, 1);
  const auto w = normal_bf16(600 * 256, 2);
  std::vector<std::uint16_t> one(7 * 600), many = one;
  GemmParams p = {.x = x.data(),
                  .w = w.data(),
                  .y = one.data(),
                  .m = 7,
                  .n = 600,
                  .k = 256,
                  .x_stride = 256,
                  .w_stride = 256,
                  .y_stride = 600};
  ASSERT_TRUE(cpu::gemm(p, 1));
  p.y = many.data();
  ASSERT_TRUE(cpu::gemm(p, 8));
  EXPECT_EQ(one, many);
}

}  // namespace
}  // namespace dsaperf::kernels
