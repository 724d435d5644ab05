#include "dsaperf/perfdb/lint.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace dsaperf::perfdb {
namespace {

using dsaperf::testing::kNoSystems;
using dsaperf::testing::systems_tree;

const LintPhysics kNoBound = {
    .topk = [](const DsaSlice&) { return 2048; },
    .bound = [](const DsaSlice&, Phase, const DsaRow&) { return std::optional<Micros>(); }};

DsaTable small_table(std::vector<DsaRow> rows) {
  DsaTable table;
  table.slices.resize(2);
  table.slices[1].shares_selection = true;
  table.rows = std::move(rows);
  return table;
}

DsaRow row(int past, double latency, int slice = 0) {
  return {.slice = slice,
          .heads = 16,
          .batch = 1,
          .new_tokens = 4096,
          .past_tokens = past,
          .latency = {latency}};
}

std::vector<LintFinding> of_rule(const std::vector<LintFinding>& findings, LintRule rule) {
  std::vector<LintFinding> result;
  for (const auto& finding : findings) {
    if (finding.rule == rule) result.push_back(finding);
  }
  return result;
}

// Rows that a rule names and rows that it looked at, over all slices.
std::pair<std::size_t, std::size_t> count(const std::vector<LintFinding>& findings, LintRule rule) {
  std::size_t rows = 0;
  std::size_t compared = 0;
  for (const auto& finding : of_rule(findings, rule)) {
    rows += finding.rows.size();
    compared += finding.compared;
  }
  return {rows, compared};
}

TEST(LintTest, AGrowingTableIsClean) {
  EXPECT_TRUE(
      lint(small_table({row(0, 100), row(1024, 110), row(2048, 118), row(0, 90, 1)}), kNoBound)
          .empty());
}

TEST(LintTest, NamesTheRowThatGetsFasterWithMorePast) {
  const auto findings = lint(small_table({row(0, 100), row(1024, 94), row(2048, 118)}), kNoBound);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].rule, LintRule::kFasterWithMorePast);
  EXPECT_EQ(findings[0].rows, std::vector<std::size_t>{1});
  EXPECT_DOUBLE_EQ(findings[0].worst_ratio, 0.94);
}

TEST(LintTest, TheSpreadsOfBothRowsMakeTheLimitWider) {
  // log(100 / 94) = 0.062; the limit is log(1 / 0.95) = 0.051 alone, and with one spread of 4 %
  // sqrt(0.051^2 + 0.039^2) = 0.065.
  const auto found = [](DsaRow smaller, DsaRow larger, LintLimits limits = {.spreads = 1}) {
    const auto findings = lint(small_table({smaller, larger}), kNoBound, limits);
    return count(findings, LintRule::kFasterWithMorePast).first;
  };
  EXPECT_EQ(found(row(0, 100), row(1024, 94)), 1U);
  auto wide = row(0, 100);
  wide.p10 = wide.latency * 0.96;
  wide.p90 = wide.latency;
  EXPECT_EQ(found(wide, row(1024, 94)), 0U);
  EXPECT_EQ(found(wide, row(1024, 93)), 1U) << "log(100 / 93) = 0.073";
  // A thousand pairs are compared: sqrt(0.051^2 + (2.9 * 0.041)^2) = 0.129.
  EXPECT_EQ(found(wide, row(1024, 89), {}), 0U);
  EXPECT_EQ(found(wide, row(1024, 87), {}), 1U);
  auto high = row(1024, 94);
  high.p10 = high.latency;
  high.p90 = high.latency * 1.04;
  EXPECT_EQ(found(row(0, 100), high), 0U);
  // Both: sqrt(0.051^2 + 2 * 0.039^2) = 0.076.
  high.latency = {93};
  high.p90 = {93 * 1.04};
  EXPECT_EQ(found(wide, high), 0U);
  // The sides that face away from each other say nothing.
  wide.p90 = wide.latency * 1.5;
  wide.p10 = wide.latency;
  high.p10 = high.latency * 0.5;
  high.p90 = high.latency;
  EXPECT_EQ(found(wide, high), 1U);
}

TEST(LintTest, NamesASpikeAndASharedLayerThatIsSlower) {
  const auto findings =
      lint(small_table({row(0, 100), row(1024, 160), row(2048, 118), row(0, 106, 1)}), kNoBound);
  EXPECT_EQ(count(findings, LintRule::kSpike).first, 1U);
  const auto shared = of_rule(findings, LintRule::kSharedSlowerThanFull);
  ASSERT_EQ(shared.size(), 1U);
  EXPECT_EQ(shared[0].rows, std::vector<std::size_t>{3});
}

TEST(LintTest, ARowThatGrowsAndThenStaysIsNoSpike) {
  const auto findings =
      lint(small_table({row(0, 148), row(1024, 233), row(2048, 232.8)}), kNoBound);
  EXPECT_EQ(count(findings, LintRule::kSpike).first, 0U);
}

TEST(LintTest, NamesLatenciesThatAreNone) {
  const auto findings =
      lint(small_table({row(0, 0), row(1, -1), row(2, std::nan("")), row(3, INFINITY)}), kNoBound);
  EXPECT_EQ(count(findings, LintRule::kUnusableLatency).first, 4U);
}

TEST(LintTest, NamesWhatIsFasterThanItsBound) {
  auto physics = kNoBound;
  physics.bound = [](const DsaSlice&, Phase, const DsaRow&) { return Micros{105}; };
  const auto findings = lint(small_table({row(0, 100), row(1024, 110)}), physics);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].rows, std::vector<std::size_t>{0});
}

TEST(LintTest, TheStepAtTopkIsANoteAndNoSpike) {
  auto before = row(0, 100);
  auto after = row(1, 250);
  before.new_tokens = after.new_tokens = 2048;
  const auto findings = lint(small_table({before, after}), kNoBound);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].rule, LintRule::kStepAtTopk);
  EXPECT_TRUE(is_note(findings[0].rule));
}

TEST(LintTest, NamesAJumpThatNoSizeExplainsAwayFromTopk) {
  // Twice the past is at most twice the work: 100 -> 260 is 1.27 times that, with 8192 tokens seen
  // before and 16384 after.
  const auto findings =
      lint(small_table({row(4096, 100), row(12288, 260), row(28672, 300)}), kNoBound);
  const auto jumps = of_rule(findings, LintRule::kJump);
  ASSERT_EQ(jumps.size(), 1U);
  EXPECT_EQ(jumps[0].rows, std::vector<std::size_t>{1});
  EXPECT_DOUBLE_EQ(jumps[0].worst_ratio, 1.3);
}

TEST(LintTest, NamesRowsThatNoRateOfTheSiblingExplains) {
  // H200 beside H100: the same arithmetic, 1.43 times the bandwidth.
  const auto ours = small_table({row(0, 80), row(1024, 50), row(2048, 130), row(4096, 99)});
  const auto sibling = small_table({row(0, 100), row(1024, 100), row(2048, 100)});
  const auto findings = lint_siblings(ours, sibling, 3.35 / 4.8, 1);
  ASSERT_EQ(findings.size(), 1U);
  EXPECT_EQ(findings[0].rule, LintRule::kOutOfProportion);
  EXPECT_EQ(findings[0].rows, (std::vector<std::size_t>{1, 2}));
  EXPECT_EQ(findings[0].compared, 3U);
  EXPECT_TRUE(lint_siblings(ours, small_table({}), 0.7, 1).empty());
}

// The counts below were found by an independent script over the same files.
TEST(LintTest, FindsTheKnownDefectsOfSglangsPrefillTable) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  auto physics = kNoBound;
  physics.bound = [](const DsaSlice&, Phase, const DsaRow&) { return Micros{40}; };
  const auto folder = *root / "data/h200_sxm/sparse_attention/sglang/0.5.14";
  const auto table = read_dsa_file(folder / dsa_table_file(Phase::kContext), Phase::kContext);
  ASSERT_TRUE(table) << table.error().message();
  const auto findings = lint(*table, physics);
  EXPECT_EQ(count(findings, LintRule::kSharedSlowerThanFull),
            std::pair(std::size_t{2766}, std::size_t{7824}));
  EXPECT_EQ(count(findings, LintRule::kFasterWithMorePast),
            std::pair(std::size_t{5401}, std::size_t{78756}));
  EXPECT_GT(count(findings, LintRule::kStepAtTopk).first, 0U);
  std::size_t floor_of_full_layers = 0;
  for (const auto& finding : of_rule(findings, LintRule::kLaunchFloor)) {
    const auto& slice = table->slices[static_cast<std::size_t>(finding.slice)];
    if (!slice.shares_selection) floor_of_full_layers += finding.rows.size();
  }
  EXPECT_EQ(floor_of_full_layers, 1640U + 1440U);
}

TEST(LintTest, FindsTheSpikesOfTrtllmsDecodeTable) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto folder = *root / "data/h200_sxm/sparse_attention/trtllm/1.3.0rc20";
  const auto table = read_dsa_file(folder / dsa_table_file(Phase::kGeneration), Phase::kGeneration);
  ASSERT_TRUE(table);
  std::size_t at_2048 = 0;
  std::size_t elsewhere = 0;
  for (const auto& finding : of_rule(lint(*table, kNoBound), LintRule::kSpike)) {
    for (const auto i : finding.rows) ++(table->rows[i].past_tokens == 2048 ? at_2048 : elsewhere);
  }
  EXPECT_GE(at_2048, 250U);
  EXPECT_EQ(elsewhere, 0U);
}

TEST(LintTest, CountsTheSecondCollectionInOneFile) {
  const auto root = systems_tree();
  if (!root) GTEST_SKIP() << kNoSystems;
  const auto folder = *root / "data/h100_sxm/sparse_attention/sglang/0.5.14";
  const auto table = read_dsa_file(folder / dsa_table_file(Phase::kGeneration), Phase::kGeneration);
  ASSERT_TRUE(table);
  EXPECT_EQ(count(lint(*table, kNoBound), LintRule::kRepeatedKey).first, 3568U);
}

}  // namespace
}  // namespace dsaperf::perfdb
