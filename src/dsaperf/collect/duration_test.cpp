#include "dsaperf/collect/duration.hpp"

#include "dsaperf/collect/by_stage.hpp"
#include "dsaperf/collect/plan.hpp"
#include "dsaperf/cost/testing/layers.hpp"
#include "dsaperf/cost/testing_card.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace dsaperf::collect {
namespace {

using cost::testing::card;

Axes axes() {
  return {.heads = {128},
          .kv = {model::KvFormat::kBf16},
          .gemm = {model::WeightFormat::kFp8Block},
          .roles = {model::IndexerRole::kFull},
          .scores = {ScoreDistribution::kModelLike},
          .launches = {Launch::kGraph}};
}

Duration total(const std::vector<Case>& measured) {
  const auto each = durations(measured, cost::testing::deepseek_v32(), card()).value();
  return std::accumulate(each.begin(), each.end(), Duration{},
                         [](Duration sum, const Duration& one) { return sum += one; });
}

TEST(DurationTest, LayersAndCachesAreMadeOnce) {
  const Case decode{.phase = perfdb::Phase::kGeneration, .requests = {{8, 1, 4095}}, .heads = 128};
  auto other_heads = decode;
  other_heads.heads = 64;
  const auto each = durations(std::vector{decode, decode, other_heads, decode},
                              cost::testing::deepseek_v32(), card())
                        .value();
  EXPECT_GT(each[0].shared_s, each[2].shared_s) << "the cache is there";
  EXPECT_EQ(each[1].shared_s, 0);
  EXPECT_GT(each[2].shared_s, 0);
  EXPECT_EQ(each[3].shared_s, 0) << "several layers are kept";
  EXPECT_EQ(each[0].passes_s, each[1].passes_s);
}

TEST(DurationTest, AStageAloneCostsLessThanItsLayer) {
  Case whole{.phase = perfdb::Phase::kContext, .requests = {{1, 32768, 0}}, .heads = 128};
  auto alone = whole;
  alone.stages = {model::Stage::kAttention};
  EXPECT_LT(total({alone}).passes_s, 0.7 * total({whole}).passes_s);
  alone.stages = {model::Stage::kQBProjection};
  EXPECT_LT(total({alone}).passes_s, 0.3 * total({whole}).passes_s);
}

// Issue: one model and cache on one card in under 4 minutes, and all axes by stage in less than
// their layers one by one.
TEST(DurationTest, TheStandardGridTakesMinutes) {
  const auto layer = cost::testing::deepseek_v32();
  const auto one = make_plan(standard_grid(), axes(), layer, card()).value();
  EXPECT_LT(total(one.cases).total(), 240);
  EXPECT_GT(total(one.cases).total(), 20);

  auto many = axes();
  many.heads = {128, 64, 32, 16, 8};
  many.kv = {model::KvFormat::kBf16, model::KvFormat::kFp8};
  const auto all = make_plan(standard_grid(), many, layer, card()).value();
  const auto stages = plan_by_stage(all.cases, layer, 0.05, 1).value();
  auto measured = stages.stage_cases;
  measured.insert(measured.end(), stages.checks.begin(), stages.checks.end());
  EXPECT_LT(total(measured).total(), 0.7 * total(all.cases).total());
}

}  // namespace
}  // namespace dsaperf::collect
