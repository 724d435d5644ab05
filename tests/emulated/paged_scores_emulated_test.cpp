// The score kernels of decode on emulated CTAs, copies and products included: the scores of the
// double-precision reference, and nothing outside what a row sees.
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/sm90/indexer_scores/kernel.cuh"
#include "paged_inputs.hpp"

#include <gtest/gtest.h>

#include <limits>
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
  expect_scores<ScoresConfig<64, 64, 1, true>>({.lengths = many()}, 3);
  expect_scores<ScoresConfig<64, 64, 1, true, true>>({.lengths = many(), .seed = 2}, 3);
  expect_scores<ScoresConfig<64, 64, 1, true, true>>({.lengths = {2500}}, 4);
}

TEST(PagedScoresEmulatedTest, MatchDoubleForSeveralNewTokens) {
  expect_scores<ScoresConfig<64, 128, 1, true>>({.lengths = {130, 0, 1, 63, 65, 400}, .q_len = 2},
                                                2);
  expect_scores<ScoresConfig<64, 128, 1, true, true>>({.lengths = many(), .q_len = 2}, 3);
  using Lean = ScoresConfig<64, 128, 1, true, true, false, true>;
  expect_scores<Lean>({.lengths = many(), .q_len = 2}, 3);
  expect_scores<ScoresConfig<64, 64, 2, true, true>>({.lengths = {130, 0, 700}, .q_len = 2}, 2);
  expect_scores<ScoresConfig<32, 128, 1, true, true>>({.lengths = {130, 3, 700}, .q_len = 3}, 2);
  expect_scores<ScoresConfig<64, 256, 1, true>>({.lengths = {130, 2, 300}, .q_len = 4}, 2);
}

}  // namespace
}  // namespace dsaperf::kernels::sm90
