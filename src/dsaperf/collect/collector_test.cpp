#include "dsaperf/collect/collector.hpp"

#include "dsaperf/collect/fake_source.hpp"
#include "dsaperf/core/testing/folder.hpp"
#include "dsaperf/cost/testing/layers.hpp"
#include "dsaperf/cost/testing_card.hpp"

#include <gtest/gtest.h>

#include <filesystem>

namespace dsaperf::collect {
namespace {

class CollectorTest : public FolderTest {
 protected:
  void SetUp() override {
    FolderTest::SetUp();
    for (const std::int64_t past : {1, 1023, 4095, 8191}) {
      plan.cases.push_back(
          {.phase = perfdb::Phase::kGeneration, .requests = {{4, 1, past}}, .heads = 16});
    }
  }

  std::vector<std::unique_ptr<TimingSource>> sources(FakeSource::Options options, int count = 1) {
    std::vector<std::unique_ptr<TimingSource>> result;
    for (int i = 0; i < count; ++i) {
      result.push_back(std::make_unique<FakeSource>(cost::testing::deepseek_v32(),
                                                    cost::testing::card(), options));
    }
    return result;
  }

  Result<CollectReport> run(const std::vector<std::unique_ptr<TimingSource>>& with, bool resume,
                            CollectOptions options = {.repeat_share = 0}) {
    DSAPERF_TRY_ASSIGN(
        auto journal,
        Journal::open(directory, {.model = "m", .source = with.front()->info()}, resume));
    return collect(plan.cases, with, journal, options, {});
  }

  Plan plan;
};

TEST_F(CollectorTest, MeasuresEachCaseOnce) {
  const auto report = run(sources({}), false);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->measured, 4U);
  EXPECT_EQ(read_journal(directory / "rows.jsonl")->entries.size(), 4U);
}

TEST_F(CollectorTest, ResumeMeasuresOnlyWhatIsMissing) {
  const auto all = plan.cases;
  plan.cases.resize(3);
  ASSERT_TRUE(run(sources({}), false));
  plan.cases = all;
  const auto report = run(sources({}), true);
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->found, 3U);
  EXPECT_EQ(report->measured, 1U);
}

TEST_F(CollectorTest, AFailedCaseIsRecordedSkippedAndRetriedOnDemand) {
  const auto first = run(sources({.fails_on = "+4095/"}), false);
  ASSERT_TRUE(first) << first.error().message();
  EXPECT_EQ(first->measured, 3U);
  ASSERT_EQ(first->failures.size(), 1U);
  EXPECT_NE(first->failures.front().find("fake failure"), std::string::npos);

  const auto resumed = run(sources({}), true);
  EXPECT_EQ(resumed->measured, 0U);
  EXPECT_EQ(resumed->failed, 1U) << "stays listed until it passes";

  const auto retried = run(sources({}), true, {.retry_failed = true, .repeat_share = 0});
  EXPECT_EQ(retried->measured, 1U);
  EXPECT_EQ(retried->failed, 0U);
}

struct SlowedCard {
  const char* name;
  FakeSource::Options behaviour;
  int disturbed;  // passes taken again
};

class SlowedCardTest : public CollectorTest, public testing::WithParamInterface<SlowedCard> {};

TEST_P(SlowedCardTest, MeasuresEveryCaseAndCountsWhatItTookAgain) {
  const auto report = run(sources(GetParam().behaviour), false,
                          {.pause_at_cap = std::chrono::milliseconds(0), .repeat_share = 0});
  ASSERT_TRUE(report) << report.error().message();
  EXPECT_EQ(report->measured, 4U);
  EXPECT_EQ(report->disturbed, GetParam().disturbed);
}

INSTANTIATE_TEST_SUITE_P(
    OfCards, SlowedCardTest,
    testing::Values(SlowedCard{"ThrottledIsTakenAgain", {.throttled_every = 3}, 1},
                    SlowedCard{"AtThePowerCapAfterAPause", {.capped_first = 1}, 1},
                    SlowedCard{"ThatStaysAtThePowerCapIsKept", {.capped_first = 100}, 0}),
    [](const auto& card) { return std::string(card.param.name); });

TEST_F(CollectorTest, ACardThatIsNeverQuietFailsTheCase) {
  const auto report = run(sources({.throttled_every = 1}), false);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->measured, 0U);
  ASSERT_EQ(report->failed, 4U);
  EXPECT_NE(report->failures.front().find("3 attempts (fake_thermal)"), std::string::npos)
      << report->failures.front();
}

TEST_F(CollectorTest, RepeatsAShareAndReportsTheSpread) {
  const auto report = run(sources({}), false, {.repeat_share = 0.5});
  ASSERT_TRUE(report);
  EXPECT_EQ(report->repeated, 2U);
  EXPECT_EQ(report->repeat_spread, 0) << "the fake source repeats itself exactly";
  const auto again = run(sources({}), true, {.repeat_share = 0.5});
  EXPECT_EQ(again->repeated, 0U) << "what was repeated counts on resume";
}

TEST_F(CollectorTest, SeveralSourcesShareTheQueue) {
  for (std::int64_t past = 10000; past < 10040; ++past) {
    plan.cases.push_back(
        {.phase = perfdb::Phase::kGeneration, .requests = {{1, 1, past}}, .heads = 16});
  }
  const auto report = run(sources({.delay = std::chrono::milliseconds(1)}, 4), false);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->measured, 44U);
  EXPECT_EQ(read_journal(directory / "rows.jsonl")->entries.size(), 44U);
}

TEST_F(CollectorTest, ShardsTogetherMeasureThePlanOnce) {
  std::size_t measured = 0;
  for (int i = 0; i < 3; ++i) {
    const auto with = sources({});
    const Shard shard{i, 3};
    auto journal = Journal::open(
        directory, {.model = "m", .source = with.front()->info(), .shard = shard}, false);
    ASSERT_TRUE(journal) << journal.error().message();
    measured += collect(taken_by(shard, plan.cases, ShardBy::kCases), with, *journal,
                        {.repeat_share = 0}, {})
                    ->measured;
  }
  EXPECT_EQ(measured, 4U);
}

}  // namespace
}  // namespace dsaperf::collect
