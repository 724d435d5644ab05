#include "dsaperf/collect/row_lint.hpp"

#include "dsaperf/cost/testing_card.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace dsaperf::collect {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Entry good(int past) {
  Entry entry;
  entry.what = {.phase = perfdb::Phase::kGeneration, .requests = {{1, 1, past}}, .heads = 16};
  entry.measurement.warm = {.median = {50}, .p10 = {49}, .p90 = {52}, .count = 20, .ci95 = 0.005};
  entry.measurement.cold = {.median = {60}, .p10 = {59}, .p90 = {63}, .count = 20, .ci95 = 0.005};
  entry.measurement.stages = {{.stage = model::Stage::kAttention, .time = {30}}};
  entry.measurement.card = {.sm_mhz = 1980, .memory_mhz = 3201};
  entry.measurement.kernel_source = "attention";
  return entry;
}

std::vector<RowFinding> lint_with(const Entry& odd) {
  std::map<std::string, Entry> entries;
  for (const int past : {1, 2, 3}) entries.emplace(good(past).what.id(), good(past));
  entries.emplace(odd.what.id(), odd);
  return lint_rows(entries);
}

void expect_only(const Entry& odd, RowRule rule, const char* value) {
  const auto findings = lint_with(odd);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].rule, rule) << name(findings[0].rule);
  EXPECT_THAT(findings[0].rows,
              ElementsAre(testing::AllOf(HasSubstr("1x1+4095"), HasSubstr(value))));
}

TEST(RowLintTest, GoodRowsAreClean) {
  EXPECT_TRUE(lint_with(good(4095)).empty());
  auto failed = good(4095);
  failed.error = "no";
  failed.measurement = {};
  EXPECT_TRUE(lint_with(failed).empty());
}

TEST(RowLintTest, NotesASumThatIsKnownBadly) {
  auto sum = good(4095);
  sum.composed = true;
  sum.measurement.warm.p90 = {54.9};
  EXPECT_TRUE(lint_with(sum).empty());
  sum.measurement.warm.p10 = {44};
  expect_only(sum, RowRule::kUnsure, "warm sum -12.0 +9.8 %");
  EXPECT_TRUE(is_note(RowRule::kUnsure));
  sum.composed = false;
  EXPECT_TRUE(lint_with(sum).empty()) << "samples may spread: their median is known";
}

TEST(RowLintTest, NamesProductsThatAreFasterThanTheirWeightsOrArithmeticAllow) {
  // 51.4 MB of weights at 4e12 bytes/s take 12.9 us; 4096 rows at 2e15 FLOP/s 210 us.
  const auto lint_product = [](std::int64_t m, double warm_us) {
    Entry entry = good(1);
    entry.what = {.gemm = model::WeightFormat::kFp8Block,
                  .product = GemmSizes{.m = m, .n = 7168, .k = 7168}};
    entry.measurement.stages = {};
    entry.measurement.warm = {
        .median = {warm_us}, .p10 = {warm_us}, .p90 = {warm_us}, .count = 20, .ci95 = 0.005};
    const auto card = cost::testing::card();
    return lint_rows({{entry.what.id(), entry}}, {}, &card);
  };
  EXPECT_TRUE(lint_product(1, 13).empty());
  EXPECT_TRUE(lint_product(4096, 211).empty());
  for (const auto& [m, warm_us] : {std::pair{1, 12.0}, {4096, 209.0}}) {
    const auto findings = lint_product(m, warm_us);
    ASSERT_EQ(findings.size(), 1U);
    EXPECT_EQ(findings[0].rule, RowRule::kBelowBound);
    EXPECT_FALSE(is_note(findings[0].rule));
  }
}

TEST(RowLintTest, NamesClocksThatNoCardHas) {
  for (const auto& [sm, memory] : {std::pair{0, 3201}, {19800, 3201}, {1980, 0}}) {
    auto odd = good(4095);
    odd.measurement.card.sm_mhz = sm;
    odd.measurement.card.memory_mhz = memory;
    expect_only(odd, RowRule::kImpossibleClock, "MHz");
  }
}

TEST(RowLintTest, NamesARowThatRanAtAnotherClock) {
  auto odd = good(4095);
  odd.measurement.card.sm_mhz = 1200;
  expect_only(odd, RowRule::kOtherClock, "1200 MHz, else 1980");
}

TEST(RowLintTest, NamesTimesThatCannotBe) {
  auto odd = good(4095);
  odd.measurement.cold.p10 = {61};
  expect_only(odd, RowRule::kDisorder, "cold");
  odd = good(4095);
  odd.measurement.warm.median = {std::nan("")};
  expect_only(odd, RowRule::kDisorder, "warm");
  odd = good(4095);
  odd.measurement.stages.push_back({.stage = model::Stage::kTopk, .time = {30}});
  expect_only(odd, RowRule::kStagesAboveWhole, "60.00 of 50.00");
  odd = good(4095);
  odd.measurement.warm.ci95 = 0.2;
  expect_only(odd, RowRule::kUnsure, "20.0 %");
}

TEST(RowLintTest, NamesRowsWithoutEvidenceOrOfAThrottledCard) {
  auto odd = good(4095);
  odd.measurement.kernel_source.clear();
  expect_only(odd, RowRule::kNoEvidence, "empty");
  odd = good(4095);
  odd.measurement.card.throttle_reasons = {"hardware thermal"};
  expect_only(odd, RowRule::kSlowedDown, "thermal");
}

TEST(RowLintTest, StagesMayTakeWhatTheirKernelsOverlapInAReplay) {
  auto odd = good(4095);
  odd.measurement.stages.push_back({.stage = model::Stage::kTopk, .time = {28}});
  EXPECT_TRUE(lint_with(odd).empty()) << "58 of 50 us in two stages";
  odd.measurement.stages.back().time = {40};
  expect_only(odd, RowRule::kStagesAboveWhole, "70.00 of 50.00");
  odd.measurement.card.throttle_reasons = {std::string(kPowerCap)};
  expect_only(odd, RowRule::kStagesAboveWhole, "70.00 of 50.00");
  odd.measurement.stages.back().time = {34};
  EXPECT_TRUE(lint_with(odd).empty()) << "measured at other clocks than the layer";
}

// The row says both itself: its clock and its interval.
TEST(RowLintTest, ClocksAndWideIntervalsAreNotesAndTheRestFindings) {
  using enum RowRule;
  for (const auto rule : {kOtherClock, kUnsure}) EXPECT_TRUE(is_note(rule)) << name(rule);
  for (const auto rule :
       {kImpossibleClock, kSlowedDown, kDisorder, kStagesAboveWhole, kNoEvidence}) {
    EXPECT_FALSE(is_note(rule)) << name(rule);
  }
}

TEST(RowLintTest, OfASumOnlyItsOwnTimesAreLookedAt) {
  auto sum = good(4095);
  sum.composed = true;
  sum.measurement.card = {};
  EXPECT_TRUE(lint_with(sum).empty());
  sum.measurement.stages.back().time = {1e6};
  EXPECT_TRUE(lint_with(sum).empty()) << "it is less than they are by what they overlap";
}

}  // namespace
}  // namespace dsaperf::collect
