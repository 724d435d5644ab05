#include "dsaperf/op/peaked_scores.hpp"

#include "dsaperf/op/layer_timing.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

namespace dsaperf::op {
namespace {

using testing::host;
using testing::selected;
using testing::small_spec;

// Every token that sees more than topk positions selects the first topk, and these score at least
// half as much again as the best of the others.
void expect_first_positions_selected(const LayerSpec& spec, const LayerShape& shape) {
  const auto backend = cpu_backend(2);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kPeaked);
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  const auto timer = LayerTimer::create(layer, weights, shape, Launch::kEager, 0).value();
  auto& pass = timer->pass();
  std::vector<std::int64_t> all(pass.tokens);
  std::iota(all.begin(), all.end(), 0);
  ASSERT_TRUE(layer.keep_scores(pass, all));
  ASSERT_TRUE(timer->run());
  const auto selection = host<std::int32_t>(*backend, pass.at("selection"));
  for (std::int64_t t = 0; t < pass.tokens; ++t) {
    if (pass.visible[t] <= spec.topk) continue;
    SCOPED_TRACE(t);
    const auto& scores = pass.kept_scores.at(t);
    const auto rest = scores.begin() + spec.topk;
    EXPECT_GT(*std::min_element(scores.begin(), rest),
              1.5F * *std::max_element(rest, scores.end()));
    const auto got = selected(selection, pass.selected, t);
    EXPECT_EQ(static_cast<int>(got.size()), spec.topk);
    EXPECT_EQ(*got.rbegin(), spec.topk - 1);
  }
}

TEST(PeakedScoresTest, DecodeSelectsTheFirstPositionsOfEveryRequest) {
  expect_first_positions_selected(small_spec(),
                                  {.groups = {{.requests = 2, .new_tokens = 1, .past = 3000},
                                              {.requests = 1, .new_tokens = 2, .past = 64}}});
}

TEST(PeakedScoresTest, PrefillMarksItsOwnFirstTokens) {
  expect_first_positions_selected(small_spec(),
                                  {.groups = {{.requests = 1, .new_tokens = 300, .past = 0},
                                              {.requests = 1, .new_tokens = 100, .past = 40}}});
}

TEST(PeakedScoresTest, BlockQuantisedProjectionsKeepTheGap) {
  auto spec = small_spec();
  spec.hidden = 256;
  spec.q_lora = 128;
  spec.v = 16;  // heads * v: columns of the output projection
  spec.projections = Projections::kFp8Block;
  expect_first_positions_selected(spec, {.groups = {{.requests = 1, .new_tokens = 200, .past = 0}},
                                         .kv = kernels::KvRows::Format::kFp8});
}

TEST(PeakedScoresTest, TheOthersAreSpreadOutAndMostlyZeroOrBelow) {
  const auto backend = cpu_backend(2);
  const auto spec = small_spec();
  const auto weights = random_weights(spec, 1, ScoreDistribution::kPeaked);
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  const LayerShape shape{.groups = {{.requests = 1, .new_tokens = 1, .past = 2000}}};
  const auto timer = LayerTimer::create(layer, weights, shape, Launch::kEager, 0).value();
  const std::int64_t only = 0;
  ASSERT_TRUE(layer.keep_scores(timer->pass(), {&only, 1}));
  ASSERT_TRUE(timer->run());
  const auto& scores = timer->pass().kept_scores.at(0);
  const auto small = std::count_if(scores.begin() + spec.topk, scores.end(),
                                   [&](float score) { return score < 0.02F * scores[0]; });
  const auto share = static_cast<double>(small) / static_cast<double>(scores.size());
  EXPECT_GT(share, 0.3);
  EXPECT_LT(share, 0.7);
}

}  // namespace
}  // namespace dsaperf::op
