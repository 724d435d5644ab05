#include "dsaperf/perfdb/diff.hpp"

#include <gtest/gtest.h>

#include <cmath>

namespace dsaperf::perfdb {
namespace {

DsaTable table(std::vector<std::pair<int, double>> past_and_latency) {
  DsaTable result;
  result.slices.resize(1);
  for (const auto& [past, latency] : past_and_latency) {
    result.rows.push_back(
        {.heads = 16, .batch = 1, .new_tokens = 1, .past_tokens = past, .latency = {latency}});
  }
  return result;
}

TEST(DiffTest, SortsRowsByWhatTheSpreadDoesNotExplain) {
  const auto result = diff(table({{1, 100}, {2, 100}, {3, 100}, {4, 100}}),
                           table({{1, 50}, {2, 99}, {3, 200}, {5, 1}}), 0.03);
  ASSERT_EQ(result.faster.size(), 1U);
  EXPECT_DOUBLE_EQ(result.faster[0].ratio, 2);
  EXPECT_EQ(result.same.size(), 1U);
  EXPECT_EQ(result.slower.size(), 1U);
  EXPECT_EQ(result.only_before, 1U);
  EXPECT_EQ(result.only_after, 1U);
}

TEST(DiffTest, TheSpreadsOfBothRowsExplainMore) {
  auto before = table({{1, 100}, {2, 100}, {3, 100}});
  auto after = table({{1, 95}, {2, 90}, {3, 105}});
  EXPECT_EQ(diff(before, after, 0.03).same.size(), 0U);
  // log(100 / 95) = 0.051 and log(100 / 90) = 0.105, beside sqrt(0.030^2 + 0.051^2) = 0.059.
  for (auto& row : before.rows) row.p10 = row.latency * 0.95;
  auto found = diff(before, after, 0.03);
  EXPECT_EQ(found.same.size(), 1U);
  EXPECT_EQ(found.faster.size(), 1U);
  EXPECT_EQ(found.slower.size(), 1U) << "what lies below the faster row is no explanation";
  for (auto& row : before.rows) row.p90 = row.latency * 1.05;
  EXPECT_EQ(diff(before, after, 0.03).slower.size(), 0U);
}

TEST(DiffTest, ATableIsTheSameAsItself) {
  const auto one = table({{1, 100}, {2, 110}});
  const auto result = diff(one, one, 0);
  EXPECT_EQ(result.same.size(), 2U);
  EXPECT_DOUBLE_EQ(result.geometric_mean(), 1);
}

TEST(DiffTest, SwappingTheTablesInvertsTheMean) {
  const auto a = table({{1, 100}, {2, 100}});
  const auto b = table({{1, 50}, {2, 80}});
  EXPECT_NEAR(diff(a, b, 0.03).geometric_mean() * diff(b, a, 0.03).geometric_mean(), 1, 1e-12);
}

TEST(DiffTest, NothingInCommonHasNoMean) {
  EXPECT_DOUBLE_EQ(diff(table({{1, 100}}), table({{2, 100}}), 0).geometric_mean(), 1);
}

TEST(DiffTest, SumsUpByRegimeAndHeads) {
  const auto table = [](double large_ms) {
    DsaTable result;
    result.slices.resize(1);
    const auto add = [&](int heads, int new_tokens, int past, double latency) {
      result.rows.push_back({.heads = heads,
                             .batch = 1,
                             .new_tokens = new_tokens,
                             .past_tokens = past,
                             .latency = {latency}});
    };
    add(16, 1024, 1024, 100);  // exactly topk: dense
    add(16, 1024, 1025, 100);
    add(16, 8192, 0, large_ms);
    add(16, 8192, 4096, 100);
    add(64, 8192, 0, 100);
    return result;
  };
  const auto before = table(400);
  const auto after = table(50);
  const auto found =
      groups(before, diff(before, after, 0.01), [](const DsaSlice&) { return 2048; });
  ASSERT_EQ(found.size(), 4U);
  EXPECT_EQ(found[0].regime, Regime::kDense);
  EXPECT_EQ(found[1].regime, Regime::kSparse);
  EXPECT_EQ(found[2].regime, Regime::kSparseLarge);
  EXPECT_EQ(found[2].heads, 16);
  EXPECT_EQ(found[2].rows, 2U);
  EXPECT_EQ(found[2].ahead, 2U) << "the same is not behind";
  EXPECT_NEAR(found[2].geometric_mean, std::sqrt(8.0), 1e-12);
  EXPECT_DOUBLE_EQ(found[2].worst, 1);
  EXPECT_EQ(found[3].heads, 64);
}

}  // namespace
}  // namespace dsaperf::perfdb
