#include "dsaperf/serving/host_costs.hpp"

#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

TEST(HostCostsTest, EveryEngineHasARowForAllSystems) {
  for (const Engine engine : {Engine::kSglang, Engine::kVllm, Engine::kTrtllm}) {
    const auto costs = host_costs(engine, "a_card_of_tomorrow");
    ASSERT_TRUE(costs) << costs.error().message();
    EXPECT_GT(costs->launch_us, 0);
  }
}

TEST(HostCostsTest, ARowOfTheSystemGoesBeforeTheOneForAll) {
  const auto b200 = host_costs(Engine::kSglang, "b200_sxm");
  const auto b300 = host_costs(Engine::kSglang, "b300_sxm");
  ASSERT_TRUE(b200 && b300);
  EXPECT_LT(b300->launch_us, b200->launch_us);
  EXPECT_EQ(text(*b200), text(*host_costs(Engine::kSglang, "h200_sxm")));
}

TEST(HostCostsTest, ChangesAreByName) {
  const auto changed = with_changes({.launch_us = 5, .request_ms = 7}, "launch_us=900");
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->launch_us, 900);
  EXPECT_EQ(changed->request_ms, 7);
  EXPECT_FALSE(with_changes({}, "launch=900"));
  EXPECT_FALSE(with_changes({}, "launch_us=-1"));
}

}  // namespace
}  // namespace dsaperf::serving
