#include "dsaperf/serving/disaggregated.hpp"

#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

// A prefill token takes 0.1 ms, a decode step 10 ms.
class FixedTimes final : public StepTimes {
 public:
  Result<double> step_ms(std::span<const RankLoad> ranks) const override {
    double tokens = 0;
    for (const Chunk& chunk : ranks.front().chunks) tokens += chunk.new_tokens;
    return tokens > 0 ? 0.1 * tokens : 10;
  }
};

DisaggregatedInputs one_at_a_time() {
  return {.traffic = {.isl = 1000, .osl = 101, .concurrency = 1.0, .prompts = 10},
          .prefill = {.ranks = 1, .max_batch = 64, .chunk = 8192, .cache_tokens = 1e6},
          .decode = {.ranks = 1, .max_batch = 64, .chunk = 8192, .cache_tokens = 1e6}};
}

Result<DisaggregatedResult> run(const DisaggregatedInputs& inputs) {
  const FixedTimes times;
  return simulate_disaggregated(inputs, times, times);
}

TEST(DisaggregatedTest, OneRequestPaysForPrefillTransferAndDecode) {
  auto inputs = one_at_a_time();
  inputs.transfer_ms_per_token = 0.01;
  const auto result = run(inputs);
  ASSERT_TRUE(result);
  EXPECT_DOUBLE_EQ(result->requests.ttft_ms.p50, 110);
  EXPECT_DOUBLE_EQ(result->requests.tpot_ms.p50, 10);
  EXPECT_DOUBLE_EQ(result->requests.request_ms.p99, 1110);
}

TEST(DisaggregatedTest, PrefillNeverStallsDecode) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 16;
  inputs.traffic.prompts = 200;
  inputs.traffic.length_ratio = 0.5;
  const auto result = run(inputs);
  ASSERT_TRUE(result);
  // At most one step more: who joins waits for the step that runs.
  EXPECT_LT(result->requests.tpot_ms.p99, 10 * 51.0 / 50 + 0.01);
}

TEST(DisaggregatedTest, ThroughputTimesLatencyIsConcurrency) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 8;
  inputs.traffic.prompts = 800;
  inputs.traffic.length_ratio = 0.5;
  inputs.decode.ranks = 2;
  const auto result = run(inputs);
  ASSERT_TRUE(result);
  EXPECT_NEAR(result->requests.requests_s * result->requests.request_ms.mean / 1000, 8, 0.16);
}

TEST(DisaggregatedTest, MorePrefillWorkersShortenTheQueue) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency.reset();
  inputs.traffic.rate_per_s = 8;  // of 10 a second that one rank can take
  inputs.traffic.prompts = 500;
  inputs.prefill.chunk = 1000;
  const auto one = run(inputs);
  inputs.prefill.ranks = 2;
  const auto two = run(inputs);
  ASSERT_TRUE(one && two);
  EXPECT_GT(one->prefill_wait_ms.mean, 3 * two->prefill_wait_ms.mean);
  EXPECT_NEAR(one->prefill_busy, 2 * two->prefill_busy, 0.1);
}

TEST(DisaggregatedTest, RequestsWaitForRoomInTheDecodeCache) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 8;
  inputs.traffic.prompts = 80;
  inputs.decode.cache_tokens = 2500;
  const auto result = run(inputs);
  ASSERT_TRUE(result);
  EXPECT_LE(result->requests.mean_batch, 2.0);
  EXPECT_GT(result->transfer_wait_ms.p50, 0);
}

TEST(DisaggregatedTest, ARequestThatNeverFitsIsAnError) {
  auto inputs = one_at_a_time();
  inputs.decode.cache_tokens = 500;
  EXPECT_EQ(run(inputs).error().code(), Errc::kInvalidArgument);
}

TEST(DisaggregatedTest, AnAnswerOfOneTokenEndsWithPrefill) {
  auto inputs = one_at_a_time();
  inputs.traffic.osl = 1;
  const auto result = run(inputs);
  ASSERT_TRUE(result);
  EXPECT_DOUBLE_EQ(result->requests.request_ms.p50, 100);
}

}  // namespace
}  // namespace dsaperf::serving
