#include "dsaperf/serving/disaggregated_match.hpp"

#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

ListedWorker worker(int tp, double batch, double latency_ms, double requests_s, int cp = 1) {
  return {.layout = {.tp = tp, .moe_tp = tp * cp, .cp = cp},
          .batch = batch,
          .latency_ms = latency_ms,
          .requests_s = requests_s,
          .requests_s_a_gpu = requests_s / (tp * cp)};
}

MatchRules rules(int gpus) {
  MatchRules rules{.tpot_ms = {1000}, .sizes = std::vector<bool>(gpus + 1, true)};
  rules.sizes[0] = rules.sizes[1] = false;
  return rules;
}

TEST(MatchedWorkersTest, AsManyOfEachAsBringTheMostPerGpu) {
  // Three requests a second of prefill and one of decode: one prefill worker feeds three.
  const auto pairs = matched_workers({worker(2, 1, 100, 3)}, {worker(2, 8, 20, 1)}, rules(16));
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].prefill_count, 1);
  EXPECT_EQ(pairs[0].decode_count, 3);
}

TEST(MatchedWorkersTest, GroupsHaveAllowedSizesOnly) {
  auto only_eight = rules(16);
  only_eight.sizes.assign(17, false);
  only_eight.sizes[6] = true;
  const auto pairs = matched_workers({worker(2, 1, 100, 3)}, {worker(2, 8, 20, 1)}, only_eight);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].prefill_count, 1);
  EXPECT_EQ(pairs[0].decode_count, 2);
}

TEST(MatchedWorkersTest, LimitsAreNotReached) {
  auto limited = rules(16);
  limited.ttft_ms = 100;
  EXPECT_TRUE(matched_workers({worker(2, 1, 100, 3)}, {worker(2, 8, 20, 1)}, limited).empty());
  limited.ttft_ms = 101;
  limited.tpot_ms = {20};
  EXPECT_TRUE(matched_workers({worker(2, 1, 100, 3)}, {worker(2, 8, 20, 1)}, limited).empty());
}

TEST(MatchedWorkersTest, EachLimitOnTpotHasItsBestBatch) {
  auto two = rules(4);
  two.tpot_ms = {15, 30};
  const auto pairs =
      matched_workers({worker(2, 1, 100, 9)}, {worker(2, 4, 10, 1), worker(2, 16, 20, 2)}, two);
  ASSERT_EQ(pairs.size(), 2U);
  EXPECT_EQ(pairs[0].decode, 0U);
  EXPECT_EQ(pairs[1].decode, 1U);
}

TEST(MatchedWorkersTest, OneTpForBothUnlessExpertsAreExchanged) {
  auto same = rules(16);
  same.same_tp = true;
  std::vector<ListedWorker> prefill = {worker(4, 1, 100, 3)};
  const std::vector<ListedWorker> decode = {worker(2, 8, 20, 1)};
  EXPECT_TRUE(matched_workers(prefill, decode, same).empty());
  prefill[0].exchanges_experts = true;
  EXPECT_EQ(matched_workers(prefill, decode, same).size(), 1U);
}

TEST(MatchedWorkersTest, OnlyTheBestOfARankedListAreTried) {
  auto narrow = rules(16);
  narrow.prefill_workers = 1;
  const std::vector<ListedWorker> prefill = {worker(2, 1, 100, 1), worker(4, 1, 60, 4)};
  const auto pairs = matched_workers(prefill, {worker(2, 8, 20, 1)}, narrow);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].prefill, 1U);

  auto layouts = rules(16);
  layouts.decode_layouts = 1;
  const std::vector<ListedWorker> decode = {worker(2, 8, 20, 1), worker(4, 8, 20, 8)};
  const auto one = matched_workers(prefill, decode, layouts);
  ASSERT_EQ(one.size(), 1U);
  EXPECT_EQ(one[0].decode, 1U);
}

TEST(MatchedWorkersTest, OfLayoutsAtOneRateTheFasterIsKept) {
  // Prefill limits both to one request a second and pair.
  auto one = rules(4);
  one.decode_layouts = 1;
  auto slow = worker(2, 8, 20, 5);
  const auto fast = worker(2, 8, 15, 5);
  slow.layout = {.tp = 1, .dp = 2, .moe_tp = 2};  // the first by name
  const auto pairs = matched_workers({worker(2, 1, 100, 1)}, {slow, fast}, one);
  ASSERT_EQ(pairs.size(), 1U);
  EXPECT_EQ(pairs[0].decode, 1U);
}

}  // namespace
}  // namespace dsaperf::serving
