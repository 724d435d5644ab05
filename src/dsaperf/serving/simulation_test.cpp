#include "dsaperf/serving/simulation.hpp"

#include <gtest/gtest.h>

#include <numeric>

namespace dsaperf::serving {
namespace {

// A prefill token takes 0.1 ms, a decode step 10 ms; ranks wait for each other.
class FixedTimes final : public StepTimes {
 public:
  Result<double> step_ms(std::span<const RankLoad> ranks) const override {
    double most = 0;
    for (const RankLoad& rank : ranks) {
      double tokens = 0;
      for (const Chunk& chunk : rank.chunks) tokens += chunk.new_tokens;
      most = std::max(most, tokens);
      if (tokens > 0) {
        largest_step = std::max(largest_step, tokens + rank.decoding);
        mixed = mixed || rank.decoding > 0;
      }
    }
    return most > 0 ? 0.1 * most : 10;
  }
  mutable double largest_step = 0;
  mutable bool mixed = false;
};

SimulationInputs one_at_a_time() {
  return {.engine = Engine::kSglang,
          .traffic = {.isl = 1000, .osl = 101, .concurrency = 1.0, .prompts = 10},
          .max_batch = 256,
          .chunk = 8192,
          .cache_tokens = 1e6};
}

TEST(SimulationTest, OneRequestAtATimeNeverWaits) {
  const FixedTimes times;
  const auto result = simulate(one_at_a_time(), times);
  ASSERT_TRUE(result);
  EXPECT_DOUBLE_EQ(result->ttft_ms.p50, 100);
  EXPECT_DOUBLE_EQ(result->ttft_ms.p99, 100);
  EXPECT_DOUBLE_EQ(result->tpot_ms.p50, 10);
  EXPECT_DOUBLE_EQ(result->request_ms.mean, 1100);
  EXPECT_NEAR(result->output_tok_s, 101 / 1.1, 1e-9);
  EXPECT_EQ(result->requests, 10);
}

TEST(SimulationTest, ThroughputTimesLatencyIsConcurrency) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 8;
  inputs.traffic.prompts = 400;
  for (const Engine engine : {Engine::kSglang, Engine::kVllm, Engine::kTrtllm}) {
    inputs.engine = engine;
    const auto result = simulate(inputs, FixedTimes());
    ASSERT_TRUE(result);
    // Little's law; the last requests leave places empty for 8 of 400.
    EXPECT_NEAR(result->requests_s * result->request_ms.mean / 1000, 8, 8 * 8.0 / 400);
  }
}

TEST(SimulationTest, ALongPromptTakesSeveralSteps) {
  auto inputs = one_at_a_time();
  inputs.traffic.isl = 10000;
  inputs.chunk = 4096;
  const FixedTimes times;
  const auto result = simulate(inputs, times);
  ASSERT_TRUE(result);
  EXPECT_LE(times.largest_step, 4096);
  EXPECT_DOUBLE_EQ(result->ttft_ms.p50, 1000);
}

TEST(SimulationTest, SglangPrefillsAloneAndVllmBesideDecode) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 4;
  inputs.traffic.length_ratio = 0.5;
  inputs.traffic.prompts = 40;
  const FixedTimes alone;
  ASSERT_TRUE(simulate(inputs, alone));
  EXPECT_FALSE(alone.mixed);
  inputs.engine = Engine::kVllm;
  const FixedTimes beside;
  ASSERT_TRUE(simulate(inputs, beside));
  EXPECT_TRUE(beside.mixed);
  EXPECT_LE(beside.largest_step, 8192);
}

TEST(SimulationTest, RequestsWaitForRoomInTheCache) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 8;
  inputs.cache_tokens = 2500;  // two requests
  inputs.traffic.prompts = 80;
  for (const Engine engine : {Engine::kSglang, Engine::kVllm, Engine::kTrtllm}) {
    inputs.engine = engine;
    const auto result = simulate(inputs, FixedTimes());
    ASSERT_TRUE(result);
    EXPECT_GT(result->waiting_share, 0.5);
    EXPECT_LE(result->mean_batch, 2.01);
    EXPECT_GT(result->ttft_ms.p50, 1000);
  }
}

TEST(SimulationTest, APromptThatNeverFitsIsAnError) {
  auto inputs = one_at_a_time();
  inputs.cache_tokens = 500;
  EXPECT_EQ(simulate(inputs, FixedTimes()).error().code(), Errc::kInvalidArgument);
}

TEST(SimulationTest, ACachedPrefixIsNotPrefilledAgain) {
  auto inputs = one_at_a_time();
  inputs.traffic.cached_share = 0.75;
  const auto result = simulate(inputs, FixedTimes());
  EXPECT_DOUBLE_EQ(result->ttft_ms.p50, 25);
}

TEST(SimulationTest, TimeOnTheHostDelaysTheFirstTokenAndNoOther) {
  auto inputs = one_at_a_time();
  inputs.traffic.host = {.request_ms = 40};
  const auto result = simulate(inputs, FixedTimes());
  EXPECT_GT(result->ttft_ms.p50, 120);
  EXPECT_LT(result->ttft_ms.p50, 160);
  EXPECT_DOUBLE_EQ(result->tpot_ms.p50, 10);
}

TEST(SimulationTest, AnArrivalDuringDecodeWaitsForTheStepThatIsDecidedAlready) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency.reset();
  inputs.traffic.rate_per_s = 2;
  inputs.traffic.prompts = 2000;
  const auto result = simulate(inputs, FixedTimes());
  ASSERT_TRUE(result);
  // A prefill of 100 ms; beside others, the rest of a step of 10 ms (5 on average) and one more.
  EXPECT_GT(result->ttft_ms.p50, 110);
}

TEST(SimulationTest, TheStartOfAClosedLoopCountsInTheMean) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 32;
  inputs.traffic.prompts = 320;
  inputs.traffic.osl = 1000;
  inputs.traffic.length_ratio = 0.8;
  const auto result = simulate(inputs, FixedTimes());
  ASSERT_TRUE(result);
  // 32 prompts of 900 tokens at once, 8192 a step, take 2.9 s; a tenth of the requests wait for
  // half of that.
  EXPECT_GT(result->ttft_ms.mean, result->ttft_ms.p50 + 0.08 * 1450);
}

TEST(SimulationTest, DraftTokensShortenTheAnswer) {
  auto inputs = one_at_a_time();
  inputs.tokens_a_step = 1.8;
  inputs.traffic.prompts = 1000;
  const auto result = simulate(inputs, FixedTimes());
  EXPECT_NEAR(result->tpot_ms.p50, 10 / 1.8, 0.05 * 10 / 1.8);
}

TEST(SimulationTest, WaitingGrowsWithTheRate) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency.reset();
  inputs.traffic.prompts = 500;
  double before = 0;
  for (const double rate : {0.5, 2.0, 8.0}) {
    inputs.traffic.rate_per_s = rate;
    const auto result = simulate(inputs, FixedTimes());
    ASSERT_TRUE(result);
    EXPECT_GT(result->ttft_ms.mean, before);
    before = result->ttft_ms.mean;
  }
}

TEST(SimulationTest, APromptStallsTheDecodeOfAllCopiesOfTheAttention) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 4;
  inputs.traffic.prompts = 400;
  inputs.traffic.length_ratio = 0.5;
  inputs.ranks = 4;
  const auto result = simulate(inputs, FixedTimes());
  ASSERT_TRUE(result);
  // 75 tokens a request on average; while it decodes, most of the three others prefill once.
  EXPECT_GT(result->tpot_ms.mean, 10 + 2 * 75.0 / 75);
  EXPECT_LE(result->mean_batch, 1.01);
  inputs.traffic.concurrency = 1;  // nobody else
  const auto alone = simulate(inputs, FixedTimes());
  ASSERT_TRUE(alone);
  EXPECT_DOUBLE_EQ(alone->tpot_ms.mean, 10);
  EXPECT_NEAR(alone->mean_batch, 0.25, 0.03);
}

TEST(SimulationTest, SglangGivesRequestsToRanksInTurnAndTheOthersToTheEmptiest) {
  auto inputs = one_at_a_time();
  inputs.traffic.concurrency = 16;
  inputs.traffic.prompts = 800;
  inputs.traffic.length_ratio = 0.2;
  inputs.ranks = 8;
  inputs.cache_tokens = 2300;  // two requests a rank
  const auto in_turn = simulate(inputs, FixedTimes());
  inputs.engine = Engine::kVllm;
  const auto to_the_emptiest = simulate(inputs, FixedTimes());
  ASSERT_TRUE(in_turn && to_the_emptiest);
  EXPECT_GT(in_turn->waiting_share, 0.1);
  EXPECT_LT(to_the_emptiest->waiting_share, 0.01);
}

TEST(SimulationTest, TheSameSeedGivesTheSameAnswer) {
  auto inputs = one_at_a_time();
  inputs.traffic.length_ratio = 0.8;
  inputs.traffic.concurrency = 16;
  const auto a = simulate(inputs, FixedTimes());
  const auto b = simulate(inputs, FixedTimes());
  EXPECT_EQ(a->ttft_ms.p90, b->ttft_ms.p90);
  inputs.traffic.seed = 2;
  EXPECT_NE(simulate(inputs, FixedTimes())->ttft_ms.p90, a->ttft_ms.p90);
}

TEST(PercentilesTest, InterpolateBetweenRanks) {
  std::vector<double> values(101);
  std::iota(values.begin(), values.end(), 0.0);
  const auto result = percentiles(values);
  EXPECT_EQ(result.p50, 50);
  EXPECT_EQ(result.p99, 99);
  EXPECT_EQ(percentiles({}).p50, 0);
}

}  // namespace
}  // namespace dsaperf::serving
