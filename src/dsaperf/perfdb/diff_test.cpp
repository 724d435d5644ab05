#include "dsaperf/perfdb/diff.hpp"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace dsaperf::perfdb
