#include "dsaperf/collect/sampling.hpp"

#include "dsaperf/core/fail.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace dsaperf::collect {
namespace {

using namespace std::chrono_literals;

// A clock that samples move on.
struct Bench {
  std::chrono::steady_clock::time_point now{};
  std::vector<double> times_us;
  std::size_t taken = 0;

  Sample sample() {
    return [this]() -> Result<Micros> {
      const double time = times_us[std::min(taken++, times_us.size() - 1)];
      now += std::chrono::microseconds(static_cast<std::int64_t>(time));
      return Micros{time};
    };
  }
  Clock clock() {
    return [this] { return now; };
  }
};

TEST(SummariseTest, OfKnownSamples) {
  std::vector<double> samples;
  for (int i = 1; i <= 101; ++i) samples.push_back(i);
  const auto summary = summarise(samples);
  EXPECT_EQ(summary.median.value, 51);
  EXPECT_EQ(summary.p10.value, 11);
  EXPECT_EQ(summary.p90.value, 91);
  EXPECT_EQ(summary.count, 101);
  // Ranks 50.5 -+ 9.85 rounded outwards, 40 and 62 counted from 1: (62 - 40) / 2 / 51.
  EXPECT_DOUBLE_EQ(summary.ci95, 11.0 / 51);
}

// The interval must hold the true median in 95 of 100 collections; drawn from a skewed
// distribution, as latencies are. 2,000 draws: three standard deviations are 1.5 %.
TEST(SummariseTest, TheIntervalCoversTheMedian) {
  std::mt19937_64 random(3);
  std::exponential_distribution<double> tail(1);
  const double median = std::log(2.0);
  for (const int n : {9, 25, 100}) {
    int covered = 0;
    constexpr int kDraws = 2000;
    for (int draw = 0; draw < kDraws; ++draw) {
      std::vector<double> samples;
      for (int i = 0; i < n; ++i) samples.push_back(tail(random));
      auto sorted = samples;
      std::ranges::sort(sorted);
      const double half = 0.98 * std::sqrt(n);
      const auto low =
          sorted[static_cast<std::size_t>(std::max(0.0, std::floor(n / 2.0 - half) - 1))];
      const auto high =
          sorted[static_cast<std::size_t>(std::min(n - 1.0, std::ceil(n / 2.0 + half)))];
      const auto summary = summarise(samples);
      EXPECT_NEAR(summary.ci95 * summary.median.value, (high - low) / 2, 1e-12);
      if (low <= median && median <= high) ++covered;
    }
    EXPECT_GE(covered, kDraws * 0.935) << n << " samples";
  }
}

TEST(SummariseTest, OneSampleAndNone) {
  EXPECT_EQ(summarise({}).count, 0);
  const auto one = summarise({5});
  EXPECT_EQ(one.median.value, 5);
  EXPECT_EQ(one.p10.value, 5);
  EXPECT_EQ(one.ci95, 0);
}

TEST(SampleUntilTest, QuietTimesNeedFewSamples) {
  Bench bench{.times_us = {100}};
  const auto samples = sample_until(bench.sample(), {.least = 9}, {}, bench.clock());
  ASSERT_TRUE(samples);
  EXPECT_EQ(samples->size(), 9U);
}

TEST(SampleUntilTest, NoisyTimesNeedMoreUntilTheMedianIsKnown) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> noise(80, 120);
  Bench bench;
  for (int i = 0; i < 5000; ++i) bench.times_us.push_back(noise(random));
  const auto samples =
      sample_until(bench.sample(), {.most = 5000, .seconds = 10}, {}, bench.clock());
  ASSERT_TRUE(samples);
  EXPECT_GT(samples->size(), 100U);
  EXPECT_LT(samples->size(), 5000U);
  EXPECT_LE(summarise(*samples).ci95, 0.01);
}

TEST(SampleUntilTest, StopsWhenTimeIsOutButNotBelowTheFewest) {
  Bench bench{.times_us = {400000, 500000}};
  const auto samples =
      sample_until(bench.sample(), {.least = 6, .fewest = 3, .seconds = 0.3}, {}, bench.clock());
  ASSERT_TRUE(samples);
  EXPECT_EQ(samples->size(), 3U);
}

TEST(SampleUntilTest, AnErrorEndsIt) {
  const auto samples =
      sample_until([]() -> Result<Micros> { return fail(Errc::kCuda, "broken"); }, {});
  ASSERT_FALSE(samples);
  EXPECT_EQ(samples.error().message(), "broken");
}

TEST(SettleTest, RunsUntilTimesStopFalling) {
  Bench bench;
  for (int i = 0; i < 20; ++i) bench.times_us.push_back(200 - 5 * i);
  bench.times_us.push_back(100);
  ASSERT_TRUE(settle(bench.sample(), {.settle_seconds = 10}, bench.clock()));
  EXPECT_GE(bench.taken, 25U) << "the falling part is over";
  EXPECT_LE(bench.taken, 40U);
}

TEST(SettleTest, TheRunThatAgreedIsTheFirstOfTheSamples) {
  Bench bench{
      .times_us = {200, 200, 200, 200, 200, 100, 101, 102, 103, 104, 99, 100, 101, 102, 103}};
  const auto settled = settle(bench.sample(), {.settle_seconds = 10}, bench.clock());
  ASSERT_TRUE(settled);
  EXPECT_EQ(*settled, (std::vector<double>{99, 100, 101, 102, 103}));
  const auto samples =
      sample_until(bench.sample(), {.least = 6, .ci95 = 0.1}, *settled, bench.clock());
  ASSERT_TRUE(samples);
  EXPECT_EQ(*samples, (std::vector<double>{99, 100, 101, 102, 103, 103}));
}

TEST(SettleTest, TwoLongPassesThatAgreeAreEnough) {
  Bench bench{.times_us = {60000, 60100, 60000}};
  const auto settled = settle(bench.sample(), {.settle_seconds = 0.1}, bench.clock());
  ASSERT_TRUE(settled);
  EXPECT_EQ(bench.taken, 2U);
  EXPECT_EQ(*settled, std::vector<double>{60100});
}

TEST(SettleTest, GivesUpWhenTimeIsOut) {
  Bench bench;
  for (int i = 0; i < 1000; ++i) bench.times_us.push_back(i % 10 < 5 ? 1000 : 2000);
  const auto settled = settle(bench.sample(), {.settle_seconds = 0.1}, bench.clock());
  ASSERT_TRUE(settled);
  EXPECT_TRUE(settled->empty());
  EXPECT_LT(bench.taken, 100U);
}

}  // namespace
}  // namespace dsaperf::collect
