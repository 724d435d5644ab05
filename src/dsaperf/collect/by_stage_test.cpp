#include "dsaperf/collect/by_stage.hpp"

#include "dsaperf/collect/collector.hpp"
#include "dsaperf/collect/fake_source.hpp"
#include "dsaperf/collect/plan.hpp"
#include "dsaperf/core/testing/folder.hpp"
#include "dsaperf/cost/stage_cost.hpp"
#include "dsaperf/cost/testing/layers.hpp"
#include "dsaperf/cost/testing_card.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

namespace dsaperf::collect {
namespace {

using cost::testing::card;

// Every axis that the stages of a layer may or may not see.
Axes all_axes() {
  using enum ScoreDistribution;
  return {.heads = {8, 16, 128},
          .kv = {model::KvFormat::kBf16, model::KvFormat::kFp8},
          .gemm = {model::WeightFormat::kBf16, model::WeightFormat::kFp8Block},
          .roles = {model::IndexerRole::kFull, model::IndexerRole::kShared},
          .scores = {kModelLike, kFlat},
          .launches = {Launch::kGraph}};
}

std::vector<Case> small_plan(const Axes& axes) {
  const auto grid = parse_grid(R"(
context: [{batch: [1, 2], new: [64, 2048, 4096], past: [0, 1024]}]
generation: [{batch: [1, 8], past: [1023, 4095, 8191], q_len: [1, 2]}]
ragged: [{phase: context, requests: ["1x512+0", "4x1+8192"]}]
)");
  return make_plan(*grid, axes, cost::testing::deepseek_v32(), card())->cases;
}

bool same_work(const cost::StageCost& a, const cost::StageCost& b) {
  return a.flops == b.flops && a.traffic.weights == b.traffic.weights &&
         a.traffic.activations == b.traffic.activations &&
         a.traffic.kv_cache == b.traffic.kv_cache &&
         a.traffic.index_cache == b.traffic.index_cache && a.traffic.scores == b.traffic.scores &&
         a.gathered_bytes == b.gathered_bytes;
}

// What makes sums right: stages that share a key are the same work to the last byte.
TEST(ByStageTest, StagesWithOneKeyDoTheSameWork) {
  const auto layer = cost::testing::deepseek_v32();
  std::map<std::string, cost::StageCost> known;
  for (const auto& what : small_plan(all_axes())) {
    const auto cost = cost::layer_cost(layer_of(what, layer), what.shape());
    ASSERT_TRUE(cost) << cost.error().message();
    for (const auto& stage : cost->stages()) {
      const auto key = stage_key(what, stage.stage, layer);
      const auto [found, is_new] = known.emplace(key, stage);
      EXPECT_TRUE(same_work(found->second, stage)) << key << " of " << what.id();
    }
  }
}

TEST(ByStageTest, EachDistinctStageIsPlannedOnce) {
  const auto layer = cost::testing::deepseek_v32();
  const auto cases = small_plan(all_axes());
  const auto plan = plan_by_stage(cases, layer, 0, 1);
  ASSERT_TRUE(plan) << plan.error().message();
  std::set<std::string> keys;
  std::size_t stages = 0;
  for (const auto& what : plan->stage_cases) {
    for (const auto stage : what.stages) {
      ++stages;
      auto whole = what;
      whole.stages.clear();
      EXPECT_TRUE(keys.insert(stage_key(whole, stage, layer)).second) << what.id();
    }
  }
  std::size_t wanted = 0;
  for (const auto& what : cases) {
    wanted += cost::layer_cost(layer_of(what, layer), what.shape())->stages().size();
  }
  EXPECT_EQ(keys.size(), plan->measured_by.size());
  EXPECT_LT(stages, wanted / 8) << "48 combinations of axes share most of their stages";
}

TEST(ByStageTest, AStageCaseReadsBackFromItsId) {
  const auto cases = small_plan(all_axes());
  const auto plan = plan_by_stage(cases, cost::testing::deepseek_v32(), 0, 1);
  for (const auto& what : plan->stage_cases) {
    const auto read = Case::from_id(what.id());
    ASSERT_TRUE(read) << read.error().message();
    EXPECT_EQ(read->stages, what.stages);
    EXPECT_EQ(read->id(), what.id());
  }
  const auto unknown = Case::from_id(cases.front().id() + "/only:topk+nothing");
  ASSERT_FALSE(unknown);
  EXPECT_NE(unknown.error().message().find("only:topk+nothing"), std::string::npos);
}

TEST(ByStageTest, EagerLaunchesAreNoSumOfStages) {
  auto cases = small_plan(all_axes());
  cases.back().launch = Launch::kEager;
  const auto plan = plan_by_stage(cases, cost::testing::deepseek_v32(), 0.05, 1);
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().message().find("--by layer"), std::string::npos);
}

class CollectByStageTest : public FolderTest {
 protected:
  void SetUp() override {
    FolderTest::SetUp();
    // Few, since each measurement is synced to the disk.
    auto axes = all_axes();
    axes.heads = {8, 16};
    axes.gemm = {model::WeightFormat::kBf16};
    axes.scores = {ScoreDistribution::kModelLike};
    const auto grid = parse_grid("generation: [{batch: [1, 8], past: [1023, 4095, 8191]}]");
    cases = make_plan(*grid, axes, cost::testing::deepseek_v32(), card())->cases;
  }
  Result<CollectReport> run(FakeSource::Options options, bool resume,
                            CollectOptions collect_options = {.repeat_share = 0}) {
    std::vector<std::unique_ptr<TimingSource>> sources;
    sources.push_back(
        std::make_unique<FakeSource>(cost::testing::deepseek_v32(), card(), std::move(options)));
    DSAPERF_TRY_ASSIGN(
        auto journal,
        Journal::open(directory, {.model = "m", .source = sources.front()->info()}, resume));
    return collect_by_stage(cases, cost::testing::deepseek_v32(), sources, journal, collect_options,
                            {});
  }
  std::map<std::string, Entry> entries() const {
    return read_journal(directory / "rows.jsonl")->entries;
  }

  std::vector<Case> cases;
};

TEST_F(CollectByStageTest, EveryLayerHasARowAndAShareOfThemIsMeasuredWhole) {
  const auto report = run({}, false);
  ASSERT_TRUE(report) << report.error().message();
  const auto checks = (cases.size() + 19) / 20;
  EXPECT_EQ(report->checked, checks);
  EXPECT_EQ(report->composed, cases.size() - checks);
  const auto rows = entries();
  std::size_t whole = 0;
  for (const auto& what : cases) {
    const auto& entry = rows.at(what.id());
    EXPECT_TRUE(entry.error.empty()) << entry.error;
    EXPECT_GT(entry.composed_warm.value, 0) << what.id();
    if (entry.composed) {
      EXPECT_EQ(entry.measurement.warm.median, entry.composed_warm);
      EXPECT_EQ(entry.measurement.kernel_source, "fake");
    } else {
      ++whole;
      // The fake's times differ by up to 0.4 % between ids.
      EXPECT_NEAR(entry.measurement.warm.median / entry.composed_warm, 1, 0.005);
    }
  }
  EXPECT_EQ(whole, checks);
  EXPECT_GT(report->composed_error, 0);
  EXPECT_LT(report->composed_error, 0.005);
  EXPECT_GE(report->composed_worst, report->composed_error);
}

TEST_F(CollectByStageTest, SumsAreLessByWhatStagesOverlapInLayersMeasuredWhole) {
  ASSERT_TRUE(run({}, false, {.repeat_share = 0, .check_share = 0.5}));
  const auto layer = cost::testing::deepseek_v32();
  const auto plan = *plan_by_stage(cases, layer, 0.5, CollectOptions{}.seed);
  ASSERT_GT(plan.checks.size(), 3U);
  // What a whole layer takes less for each stage but the first: 2 us, and one layer is far off.
  auto rows = entries();
  for (const auto& check : plan.checks) {
    const auto sum = *compose(check, plan, layer, rows, {});
    auto& whole = rows.at(check.id());
    ASSERT_FALSE(whole.composed);
    const double boundaries = static_cast<double>(sum.stages.size()) - 1;
    const double less = &check == &plan.checks.front() ? 9 : 2;
    whole.measurement.warm.median = sum.warm.median - Micros{less * boundaries};
    whole.measurement.cold.median = sum.cold.median - Micros{boundaries};
  }
  const SumChecks checks(plan, layer, rows);
  EXPECT_NEAR(checks.overlap_without({}).warm.value, 2, 1e-9);
  EXPECT_NEAR(checks.overlap_without(plan.checks.front().id()).warm.value, 2, 1e-9);
  EXPECT_NEAR(checks.overlap_without({}).cold.value, 1, 1e-9);

  const auto sum = *compose(cases.front(), plan, layer, rows, {});
  const auto less = *compose(cases.front(), plan, layer, rows, checks.overlap_without({}));
  const double boundaries = static_cast<double>(sum.stages.size()) - 1;
  EXPECT_NEAR((sum.warm.median - less.warm.median).value, 2 * boundaries, 1e-9);
  EXPECT_EQ(less.warm.p90, less.warm.median);
  EXPECT_EQ(less.stages.front().time, sum.stages.front().time);

  const auto least = *compose(cases.front(), plan, layer, rows, {.warm = {1e9}, .cold = {1e9}});
  const auto longest = std::ranges::max(sum.stages, {}, &StageTime::time);
  EXPECT_EQ(least.warm.median, longest.time) << "a layer takes at least its longest stage";
}

TEST(SumChecksTest, SayNothingWhereNoLayerWasMeasuredWhole) {
  const auto cases = small_plan(all_axes());
  const auto layer = cost::testing::deepseek_v32();
  const auto plan = *plan_by_stage(cases, layer, 0.05, 1);
  const SumChecks none(plan, layer, {});
  EXPECT_EQ(none.overlap_without({}).warm, Micros{0});
  EXPECT_FALSE(none.errors(perfdb::Phase::kGeneration));
}

// Of the layers measured whole some take 20 % less than their sum, then some 10 % more, and all
// others as much.
class SumErrorTest : public CollectByStageTest {
 protected:
  void measure(double check_share, std::size_t less, std::size_t more) {
    ASSERT_TRUE(run({}, true, {.repeat_share = 0, .check_share = check_share}));
    plan = *plan_by_stage(cases, layer, check_share, CollectOptions{}.seed);
    rows = entries();
    for (std::size_t i = 0; i < plan.checks.size(); ++i) {
      const auto sum = *compose(plan.checks[i], plan, layer, rows, {});
      auto& whole = rows.at(plan.checks[i].id()).measurement;
      const double share = i < less ? 0.8 : i < less + more ? 1.1 : 1;
      whole.warm.median = sum.warm.median * share;
      whole.cold.median = sum.cold.median;
    }
  }

  // How far sums of decode are off, as logarithms.
  void expect_off(double below, double above) const {
    const auto errors = SumChecks(plan, layer, rows).errors(perfdb::Phase::kGeneration);
    ASSERT_TRUE(errors);
    EXPECT_NEAR(errors->warm.below, below, 1e-9);
    EXPECT_NEAR(errors->warm.above, above, 1e-9);
    EXPECT_NEAR(errors->cold.above, 0, 1e-9);
  }

  const model::LayerPlan layer = cost::testing::deepseek_v32();
  StagePlan plan;
  std::map<std::string, Entry> rows;
};

TEST_F(SumErrorTest, IsBetweenTheTenthAndTheNinetiethPercentileOfTheChecks) {
  // Of 48, in order, the percentiles are the 4.7th and the 42.3th, counted from 0.
  measure(1, 5, 4);
  ASSERT_EQ(plan.checks.size(), 48U);
  expect_off(-std::log(0.8), 0);
  measure(1, 4, 5);
  expect_off(0, std::log(1.1));
}

TEST_F(SumErrorTest, OfFewChecksIsTheFarthestOffToBothSides) {
  measure(0.15, 1, 1);
  ASSERT_LT(plan.checks.size(), 10U);
  expect_off(-std::log(0.8), -std::log(0.8));
  // A phase of which none was measured whole is off by as much as the other.
  const auto prefill = SumChecks(plan, layer, rows).errors(perfdb::Phase::kContext);
  ASSERT_TRUE(prefill);
  EXPECT_NEAR(prefill->warm.below, -std::log(0.8), 1e-9);
}

TEST_F(SumErrorTest, AndTheSamplesOfItsStagesAreTheSpreadOfASum) {
  measure(0.15, 1, 1);
  const auto& what = cases.front();
  const auto without = *compose(what, plan, layer, rows, {});
  EXPECT_EQ(without.warm.p10, without.warm.median) << "how far it is off nobody knows";
  EXPECT_EQ(without.warm.p90, without.warm.median);
  // The fake's samples lie 0.5 % below and 1 % above; the first case measures all of its stages.
  const auto sum = *compose(what, plan, layer, rows, {}, SumErrors{});
  EXPECT_NEAR(std::log(sum.warm.median / sum.warm.p10), 0.005, 1e-9);
  EXPECT_NEAR(std::log(sum.warm.p90 / sum.warm.median), 0.01, 1e-9);
  const auto off =
      *compose(what, plan, layer, rows, {}, SumErrors{.warm = {0.03, 0.04}, .cold = {}});
  EXPECT_NEAR(std::log(off.warm.median / off.warm.p10), std::hypot(0.005, 0.03), 1e-9);
  EXPECT_NEAR(std::log(off.warm.p90 / off.warm.median), std::hypot(0.01, 0.04), 1e-9);
  EXPECT_NEAR(std::log(off.cold.p90 / off.cold.median), 0.01, 1e-9);
}

TEST_F(CollectByStageTest, ResumeGivesSumsWithoutASpreadTheirs) {
  ASSERT_TRUE(run({}, false));
  auto earlier = entries();
  const auto composed =
      std::ranges::find_if(earlier, [](const auto& each) { return each.second.composed; });
  auto row = composed->second;
  row.measurement.warm.p10 = row.measurement.warm.p90 = row.measurement.warm.median;
  {
    const FakeSource source(cost::testing::deepseek_v32(), card(), {});
    auto journal = *Journal::open(directory, {.model = "m", .source = source.info()}, true);
    ASSERT_TRUE(journal.append(row));
  }
  const auto report = run({}, true);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->measured, 0U);
  const auto now = entries().at(composed->first);
  EXPECT_EQ(now.measurement.warm.median, row.measurement.warm.median);
  EXPECT_LT(now.measurement.warm.p10, now.measurement.warm.median);
  EXPECT_GT(now.measurement.warm.p90, now.measurement.warm.median);
}

TEST_F(CollectByStageTest, ResumeMeasuresNothingAgain) {
  ASSERT_TRUE(run({}, false));
  const auto size = std::filesystem::file_size(directory / "rows.jsonl");
  const auto report = run({}, true);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->measured, 0U);
  EXPECT_EQ(std::filesystem::file_size(directory / "rows.jsonl"), size);
  EXPECT_GT(report->checked, 0U) << "the error of the sums is reported again";
}

TEST_F(CollectByStageTest, AFailedStageFailsTheLayersThatNeedItUntilItPasses) {
  const auto report =
      run({.fails_on = "8x1+4095/h8/kv_bf16/gemm_bf16/full/model_like/graph/only"}, false);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_GT(report->failed, 1U);
  const auto rows = entries();
  const auto waiting = std::ranges::count_if(cases, [&](const Case& what) {
    return rows.at(what.id()).error.find("fake failure") != std::string::npos;
  });
  EXPECT_GT(waiting, 0);

  const auto retried = run({}, true, {.retry_failed = true, .repeat_share = 0});
  ASSERT_TRUE(retried) << retried.error().message();
  EXPECT_EQ(retried->failed, 0U);
  for (const auto& what : cases) EXPECT_TRUE(entries().at(what.id()).error.empty()) << what.id();
}

TEST_F(CollectByStageTest, AWholeMeasurementReplacesASum) {
  ASSERT_TRUE(run({}, false));
  std::vector<std::unique_ptr<TimingSource>> sources;
  sources.push_back(
      std::make_unique<FakeSource>(cost::testing::deepseek_v32(), card(), FakeSource::Options{}));
  auto journal = Journal::open(directory, {.model = "m", .source = sources.front()->info()}, true);
  ASSERT_TRUE(journal) << journal.error().message();
  const auto report = collect(cases, sources, *journal, {.repeat_share = 0}, {});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->found, (cases.size() + 19) / 20);
  for (const auto& what : cases) EXPECT_FALSE(journal->entries().at(what.id()).composed);
}

}  // namespace
}  // namespace dsaperf::collect
