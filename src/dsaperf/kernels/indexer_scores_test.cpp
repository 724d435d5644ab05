#include "dsaperf/kernels/indexer_scores.hpp"

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

namespace dsaperf::kernels {
namespace {

constexpr float kPoison = -12345;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Scores {
  Scores(std::int64_t tokens, std::int64_t keys, int heads, std::int64_t stride)
      : q(tokens * heads * kIndexDim),
        weights(tokens * heads),
        k(keys * kIndexDim),
        k_scales(keys),
        start(tokens, 0),
        end(tokens, static_cast<std::int32_t>(keys)),
        scores(tokens * stride, kPoison) {
    std::mt19937 engine(7);
    std::normal_distribution<double> normal;
    for (auto& value : q) value = e4m3_from(normal(engine));
    for (auto& value : k) value = e4m3_from(normal(engine));
    for (auto& value : weights) value = static_cast<float>(normal(engine));
    for (auto& value : k_scales) value = static_cast<float>(std::exp(normal(engine)));
    params = {.q = q.data(),
              .weights = weights.data(),
              .k = k.data(),
              .k_scales = k_scales.data(),
              .start = start.data(),
              .end = end.data(),
              .scores = scores.data(),
              .tokens = tokens,
              .keys = keys,
              .heads = heads,
              .dim = kIndexDim,
              .scores_stride = stride};
  }

  std::vector<std::uint8_t> q;
  std::vector<float> weights;
  std::vector<std::uint8_t> k;
  std::vector<float> k_scales;
  std::vector<std::int32_t> start, end;
  std::vector<float> scores;
  IndexerScoresParams params;
};

TEST(IndexerScoresReferenceTest, AddsWeightedPositiveProductsOfHeads) {
  Scores s(1, 1, 8, 1);
  std::fill(s.q.begin(), s.q.end(), e4m3_from(0));
  std::fill(s.k.begin(), s.k.end(), e4m3_from(0));
  s.k[3] = e4m3_from(2);
  s.q[3] = e4m3_from(1.5);                   // head 0: 3
  s.q[kIndexDim + 3] = e4m3_from(-4);        // head 1: -8, cut by relu
  s.q[2 * kIndexDim + 3] = e4m3_from(0.25);  // head 2: 0.5
  s.weights = {2, 100, -8, 1, 1, 1, 1, 1};
  s.params.weights = s.weights.data();
  s.k_scales[0] = 0.5F;
  ASSERT_TRUE(indexer_scores_reference(s.params));
  EXPECT_EQ(s.scores[0], 0.5F * (2 * 3 - 8 * 0.5F));
}

TEST(IndexerScoresReferenceTest, WritesOnlyWithinEachRowsRange) {
  Scores s(6, 10, 8, 13);
  s.start = {0, 2, 5, 9, 0, -3};
  s.end = {10, 7, 5, 3, 1, 99};  // rows 2 and 3 see nothing; row 5 is clamped
  ASSERT_TRUE(indexer_scores_reference(s.params));
  for (int t = 0; t < 6; ++t)
    for (int k = 0; k < 13; ++k)
      EXPECT_EQ(s.scores[t * 13 + k] != kPoison, k < 10 && k >= s.start[t] && k < s.end[t])
          << t << " " << k;
}

TEST(IndexerScoresReferenceTest, FillsOutsideWithMinusInfinityOnRequest) {
  Scores s(3, 10, 16, 12);
  s.start = {0, 2, 5};
  s.end = {4, 7, 5};
  s.params.outside = OutsideScores::kMinusInfinity;
  ASSERT_TRUE(indexer_scores_reference(s.params));
  for (int t = 0; t < 3; ++t) {
    for (int k = 0; k < 10; ++k)
      EXPECT_EQ(s.scores[t * 12 + k] == -kInfinity, k < s.start[t] || k >= s.end[t]);
    EXPECT_EQ(s.scores[t * 12 + 10], kPoison);
  }
}

TEST(IndexerScoresReferenceTest, NanShowsInItsRowOrColumnOnly) {
  Scores s(3, 4, 8, 4);
  s.q[1 * 8 * kIndexDim + 5] = 0x7f;  // token 1
  s.k_scales[2] = std::nanf("");
  ASSERT_TRUE(indexer_scores_reference(s.params));
  for (int t = 0; t < 3; ++t)
    for (int k = 0; k < 4; ++k)
      EXPECT_EQ(std::isnan(s.scores[t * 4 + k]), t == 1 || k == 2) << t << " " << k;
}

TEST(PagedIndexerScoresReferenceTest, EqualsContiguousKeysForEveryQLen) {
  for (int q_len = 1; q_len <= 8; ++q_len) {
    const std::vector<std::int32_t> context = {200, 0, q_len, 64, q_len - 1};
    const std::int64_t batch = static_cast<std::int64_t>(context.size());
    const std::int64_t table_stride = 5;
    std::vector<std::uint8_t> pages(20 * kIndexPageBytes, 0x7f);  // NaN where nothing was written
    std::vector<std::int32_t> table(batch * table_stride, 0);
    Scores s(batch * q_len, 200, 8, 200);
    std::vector<float> expected(batch * q_len * 200, kPoison);
    int next_page = 19;
    for (std::int64_t b = 0; b < batch; ++b) {
      for (int k = 0; k < context[b]; ++k) {
        if (k % kPageTokens == 0) table[b * table_stride + k / kPageTokens] = next_page--;
        std::uint8_t* page = &pages[(next_page + 1) * kIndexPageBytes];
        std::memcpy(page + (k % 64) * kIndexDim, &s.k[k * kIndexDim], kIndexDim);
        std::memcpy(page + kIndexPageScaleOffset + 4 * (k % 64), &s.k_scales[k], 4);
      }
      for (int j = 0; j < q_len; ++j)
        s.end[b * q_len + j] = std::max(0, context[b] - q_len + 1 + j);
    }
    ASSERT_TRUE(indexer_scores_reference(s.params));
    const PagedIndexerScoresParams paged = {.q = s.q.data(),
                                            .weights = s.weights.data(),
                                            .pages = pages.data(),
                                            .block_table = table.data(),
                                            .context_length = context.data(),
                                            .scores = expected.data(),
                                            .batch = batch,
                                            .q_len = q_len,
                                            .heads = 8,
                                            .dim = kIndexDim,
                                            .max_context = 200,
                                            .page_stride_bytes = kIndexPageBytes,
                                            .block_table_stride = table_stride,
                                            .scores_stride = 200};
    ASSERT_TRUE(paged_indexer_scores_reference(paged));
    EXPECT_EQ(expected, s.scores) << "q_len " << q_len;
  }
}

TEST(IndexerScoresCheckTest, RefusesWhatContradictsItself) {
  const auto refused = [](auto bend) {
    Scores s(2, 4, 8, 4);
    bend(s.params);
    const auto result = indexer_scores_reference(s.params);
    return !result && result.error().code() == Errc::kInvalidArgument;
  };
  EXPECT_FALSE(refused([](IndexerScoresParams&) {}));
  EXPECT_TRUE(refused([](IndexerScoresParams& p) { p.heads = 12; }));
  EXPECT_TRUE(refused([](IndexerScoresParams& p) { p.dim = 64; }));
  EXPECT_TRUE(refused([](IndexerScoresParams& p) { p.scores_stride = 3; }));
  EXPECT_TRUE(refused([](IndexerScoresParams& p) { p.end = nullptr; }));
  EXPECT_TRUE(refused([](IndexerScoresParams& p) { p.tokens = -2; }));
}

TEST(IndexerScoresCheckTest, RefusesPagesNarrowerThanAPage) {
  PagedIndexerScoresParams p = {.batch = 0, .q_len = 9, .heads = 8, .dim = 128};
  EXPECT_FALSE(paged_indexer_scores_check(p));
  p.q_len = 1;
  EXPECT_TRUE(paged_indexer_scores_check(p));
}

}  // namespace
}  // namespace dsaperf::kernels
