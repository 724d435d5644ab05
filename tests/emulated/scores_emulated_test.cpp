// The score kernels on emulated CTAs, copies and products included: the scores of the
// double-precision reference, and nothing outside what a row sees.
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"
#include "paged_inputs.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

namespace dsaperf::kernels::sm90 {
namespace {

using testing::PagedInputs;
using testing::Requests;

template <class Config>
void expect_scores(Requests requests, int ctas) {
  requests.heads = Config::kHeads;
  PagedInputs inputs(requests);
  const ScoresArguments a = inputs.arguments(Config::kColumns);
  emulated::launch(ctas, Config::kThreads, 1, requests.seed, [&] { scores_kernel<Config>(a); });
  constexpr float kUntouched = std::numeric_limits<float>::infinity();
  std::vector<float> expected(inputs.rows() * inputs.stride(), kUntouched);
  ASSERT_TRUE(paged_indexer_scores_reference({.q = a.q.base,
                                              .weights = a.weights,
                                              .pages = a.pages,
                                              .block_table = a.block_table,
                                              .context_length = a.context_length,
                                              .scores = expected.data(),
                                              .batch = inputs.count(),
                                              .q_len = requests.q_len,
                                              .heads = requests.heads,
                                              .dim = kIndexDim,
                                              .max_context = inputs.keys(),
                                              .page_stride_bytes = a.page_stride_bytes,
                                              .block_table_stride = a.block_table_stride,
                                              .scores_stride = inputs.stride()}));
  for (std::int64_t i = 0; i < std::ssize(expected); ++i) {
    const std::int64_t row = i / inputs.stride(), key = i % inputs.stride();
    if (expected[i] == kUntouched)
      ASSERT_EQ(inputs.scores()[i], kUntouched) << "row " << row << ", key " << key;
    else  // f32 sums of products of some 10 ... 100
      ASSERT_NEAR(inputs.scores()[i], expected[i], 2e-3) << "row " << row << ", key " << key;
  }
}

// Many short requests for few CTAs: slots and stages are used again and again.
std::vector<std::int32_t> many() {
  std::vector<std::int32_t> lengths;
  for (int i = 0; i < 30; ++i) lengths.push_back(i % 7 == 3 ? 0 : 40 + 13 * i);
  return lengths;
}

TEST(PagedScoresEmulatedTest, MatchDoubleForOneNewToken) {
  expect_scores<ScoresConfig<64, 64, false, true>>({.lengths = many()}, 3);
  expect_scores<ScoresConfig<64, 64, false, true, true>>({.lengths = many(), .seed = 2}, 3);
  expect_scores<ScoresConfig<64, 64, false, true, true>>({.lengths = {2500}}, 4);
}

TEST(PagedScoresEmulatedTest, MatchDoubleForSeveralNewTokens) {
  expect_scores<ScoresConfig<64, 128, false, true>>(
      {.lengths = {130, 0, 1, 63, 65, 400}, .q_len = 2}, 2);
  expect_scores<ScoresConfig<64, 128, false, true, true>>({.lengths = many(), .q_len = 2}, 3);
  using Lean = ScoresConfig<64, 128, false, true, true, Leaves::kScores, true>;
  expect_scores<Lean>({.lengths = many(), .q_len = 2}, 3);
  expect_scores<ScoresConfig<32, 128, false, true, true>>({.lengths = {130, 3, 700}, .q_len = 3},
                                                          2);
  expect_scores<ScoresConfig<64, 256, false, true>>({.lengths = {130, 2, 300}, .q_len = 4}, 2);
}

// Prefill: rows with limits of their own, fewer rows than a group has, keys that end within a tile.
template <class Config>
void expect_prefill_scores(int rows, int keys, int ctas, unsigned seed) {
  std::mt19937 engine(seed);
  std::normal_distribution<float> normal;
  testing::Aligned<std::uint8_t> q(rows * Config::kHeads * kIndexDim), k(keys * kIndexDim);
  testing::Aligned<float> weights(rows * Config::kHeads), scales(keys);
  for (int i = 0; i < rows * Config::kHeads * kIndexDim; ++i)
    q.data()[i] = e4m3_from(normal(engine));
  for (int i = 0; i < keys * kIndexDim; ++i) k.data()[i] = e4m3_from(normal(engine));
  for (int i = 0; i < rows * Config::kHeads; ++i) weights.data()[i] = normal(engine);
  for (int i = 0; i < keys; ++i) scales.data()[i] = 0.5f + normal(engine) / 8;
  std::vector<std::int32_t> start(rows), end(rows);
  for (int row = 0; row < rows; ++row) {
    start[row] = static_cast<std::int32_t>(engine() % (keys / 2));
    end[row] = row % 5 == 3 ? start[row] : static_cast<std::int32_t>(keys - engine() % (keys / 2));
  }
  constexpr float kUntouched = std::numeric_limits<float>::infinity();
  const std::int64_t stride = (keys + 7) / 8 * 8;
  std::vector<float> scores(rows * stride, kUntouched), expected = scores;
  const ScoresArguments a{
      .q = {.base = q.data(),
            .rows = rows * Config::kHeads,
            .plane_bytes = 0,
            .box_rows = kPrefillColumns},
      .k = {.base = k.data(), .rows = keys, .plane_bytes = 0, .box_rows = Config::kTileKeys},
      .k_scales = {.base = reinterpret_cast<std::uint8_t*>(scales.data()),
                   .rows = keys,
                   .plane_bytes = 0,
                   .box_rows = Config::kTileKeys},
      .weights = weights.data(),
      .start = start.data(),
      .end = end.data(),
      .scores = scores.data(),
      .scores_stride = stride,
      .groups = (rows + Config::kGroupRows - 1) / Config::kGroupRows,
      .rows = rows,
      .keys = keys,
      .columns = keys};
  emulated::launch(ctas, Config::kThreads, 1, seed, [&] { scores_kernel<Config>(a); });
  ASSERT_TRUE(indexer_scores_reference({.q = q.data(),
                                        .weights = weights.data(),
                                        .k = k.data(),
                                        .k_scales = scales.data(),
                                        .start = start.data(),
                                        .end = end.data(),
                                        .scores = expected.data(),
                                        .tokens = rows,
                                        .keys = keys,
                                        .heads = Config::kHeads,
                                        .dim = kIndexDim,
                                        .scores_stride = stride}));
  for (std::int64_t i = 0; i < std::ssize(expected); ++i) {
    const std::int64_t row = i / stride, key = i % stride;
    if (expected[i] == kUntouched)
      ASSERT_EQ(scores[i], kUntouched) << "row " << row << ", key " << key;
    else
      ASSERT_NEAR(scores[i], expected[i], 2e-3) << "row " << row << ", key " << key;
  }
}

TEST(ScoresEmulatedTest, MatchDouble) {
  expect_prefill_scores<ScoresConfig<64, kPrefillColumns, true, false>>(19, 331, 3, 1);
  expect_prefill_scores<ScoresConfig<64, kPrefillColumns, true, false, true>>(19, 331, 2, 2);
  expect_prefill_scores<ScoresConfig<8, kPrefillColumns, true, false>>(70, 200, 2, 3);
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
