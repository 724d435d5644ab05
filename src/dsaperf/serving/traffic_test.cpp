#include "dsaperf/serving/traffic.hpp"

#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

Traffic four_at_once() {
  return {.isl = 1000,
          .osl = 10,
          .concurrency = 4.0,
          .prompts = 6,
          .host = {.request_ms = 0, .text_us = 20}};
}

TEST(TrafficTest, OneProcessReadsPromptsOneAfterTheOther) {
  auto arrivals = Arrivals::open(four_at_once());
  ASSERT_TRUE(arrivals);
  const auto first = arrivals->first();
  ASSERT_EQ(first.size(), 4U);
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].arrival_ms, 0);
    EXPECT_DOUBLE_EQ(first[i].seen_ms, 20.0 * static_cast<double>(i + 1));
  }
  // Nothing is left to read: only its own prompt delays a late one.
  EXPECT_DOUBLE_EQ(arrivals->after(1000)->seen_ms, 1020);
}

TEST(TrafficTest, SchedulersShareTheProcess) {
  auto traffic = four_at_once();
  traffic.host_sharers = 2;
  auto arrivals = Arrivals::open(traffic);
  ASSERT_TRUE(arrivals);
  EXPECT_DOUBLE_EQ(arrivals->first()[1].seen_ms, 80);
}

TEST(TrafficTest, EveryRequestThatEndsIsReplacedUntilAllAreSent) {
  auto arrivals = Arrivals::open(four_at_once());
  ASSERT_TRUE(arrivals);
  EXPECT_EQ(arrivals->total(), 6);
  EXPECT_EQ(arrivals->first().size(), 4U);
  EXPECT_TRUE(arrivals->after(1));
  EXPECT_TRUE(arrivals->after(2));
  EXPECT_FALSE(arrivals->after(3));
}

TEST(TrafficTest, RepeatedPromptsAreCachedButForTheirLastBlocks) {
  auto traffic = four_at_once();
  traffic.repeated = 3;
  auto arrivals = Arrivals::open(traffic);
  ASSERT_TRUE(arrivals);
  const auto first = arrivals->first();
  for (std::size_t i = 0; i < first.size(); ++i) EXPECT_EQ(first[i].cached, i < 3 ? 872 : 0) << i;
}

TEST(TrafficTest, ARateSendsAllByItself) {
  auto traffic = four_at_once();
  traffic.concurrency.reset();
  traffic.rate_per_s = 100;
  traffic.prompts = 1000;
  auto arrivals = Arrivals::open(traffic);
  ASSERT_TRUE(arrivals);
  const auto sent = arrivals->first();
  ASSERT_EQ(sent.size(), 1000U);
  // The sum of 1000 gaps of 10 ms has a standard deviation of 3 %.
  EXPECT_NEAR(sent.back().arrival_ms, 10000, 1500);
  EXPECT_FALSE(arrivals->after(20000));
}

TEST(TrafficTest, NeedsLengthsAndAConcurrencyOrARate) {
  EXPECT_FALSE(Arrivals::open({.isl = 10, .osl = 10}));
  EXPECT_FALSE(Arrivals::open({.isl = 0, .osl = 10, .concurrency = 1.0}));
}

}  // namespace
}  // namespace dsaperf::serving
