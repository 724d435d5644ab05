#include "dsaperf/serving/host_costs.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/cost/system_spec.hpp"

#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

TEST(HostCostsTest, EveryEngineHasARowForAllSystems) {
  for (const Engine engine : {Engine::kSglang, Engine::kVllm, Engine::kTrtllm}) {
    const auto costs = host_costs(engine, {.system = "a_card_of_tomorrow"});
    ASSERT_TRUE(costs) << costs.error().message();
    EXPECT_GT(costs->launch_us, 0);
  }
}

TEST(HostCostsTest, ARowOfTheSystemGoesBeforeTheOneForAll) {
  const auto b200 = host_costs(Engine::kSglang, {.system = "b200_sxm"});
  const auto b300 = host_costs(Engine::kSglang, {.system = "b300_sxm"});
  ASSERT_TRUE(b200 && b300);
  EXPECT_LT(b300->launch_us, b200->launch_us);
  EXPECT_EQ(text(*b200), text(*host_costs(Engine::kSglang, {.system = "h200_sxm"})));
}

TEST(HostCostsTest, AnOlderEngineHasARowOfItsOwnOrTheUsualOne) {
  const auto now = host_costs(Engine::kVllm, {.system = "h200_sxm"});
  const auto older = host_costs(Engine::kVllm, {.system = "h200_sxm", .age = EngineAge::kOlder});
  ASSERT_TRUE(now && older);
  EXPECT_EQ(now->prefill_factor, 1);
  EXPECT_GT(older->prefill_factor, 1);
  EXPECT_EQ(text(*host_costs(Engine::kSglang, {.system = "b300_sxm", .age = EngineAge::kOlder})),
            text(*host_costs(Engine::kSglang, {.system = "b300_sxm"})));
}

TEST(HostCostsTest, ExpertsOfAFormatHaveARowOfTheirOwnOrTheUsualOne) {
  const auto factor = [](Engine engine, const HostedOn& on) {
    const auto costs = host_costs(engine, on);
    EXPECT_TRUE(costs) << costs.error().message();
    return costs->prefill_factor;
  };
  for (const char* system : {"b200_sxm", "b300_sxm", "gb200"}) {
    EXPECT_GT(factor(Engine::kSglang, {.system = system, .experts = "nvfp4"}), 1) << system;
    EXPECT_EQ(factor(Engine::kSglang, {.system = system, .experts = "fp8_block"}), 1) << system;
  }
  EXPECT_EQ(factor(Engine::kTrtllm, {.system = "b200_sxm", .experts = "nvfp4"}), 1);
  // What a system's own row says beside it stays.
  EXPECT_EQ(host_costs(Engine::kSglang, {.system = "b300_sxm", .experts = "nvfp4"})->launch_us,
            host_costs(Engine::kSglang, {.system = "b300_sxm"})->launch_us);
}

TEST(HostCostsTest, AnotherHostTakesAsLongAsItsLaunchesDo) {
  const auto data = data_dir();
  ASSERT_TRUE(data) << data.error().message();
  for (const char* system : {"gb200", "gb300"}) {
    const auto spec = cost::find_system(*data, system);
    ASSERT_TRUE(spec) << spec.error().message();
    for (const Engine engine : {Engine::kSglang, Engine::kVllm, Engine::kTrtllm}) {
      const auto x86 = host_costs(engine, {.system = "b200_sxm"});
      const auto grace = host_costs(engine, {.system = system});
      ASSERT_TRUE(x86 && grace);
      const auto known = spec->host_launch.find(std::string(name(engine)));
      const double ratio = known == spec->host_launch.end() ? 1 : known->second;
      EXPECT_EQ(known == spec->host_launch.end(), engine == Engine::kTrtllm);
      EXPECT_DOUBLE_EQ(grace->launch_us, ratio * x86->launch_us);
      EXPECT_DOUBLE_EQ(grace->request_ms, ratio * x86->request_ms);
      EXPECT_EQ(grace->graph_gap_us, x86->graph_gap_us);
      EXPECT_EQ(grace->text_us, x86->text_us);
    }
  }
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
