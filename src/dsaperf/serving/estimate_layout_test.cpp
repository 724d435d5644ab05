#include "dsaperf/serving/testing/estimate_fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace dsaperf::serving {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;
using EstimateLayoutTest = testing::EstimateFixture;

// Of its attention nvidia/DeepSeek-V3.2-NVFP4 has the output projection in NVFP4 and the rest in
// bf16, and SGLang's tables hold fp8_block alone.
TEST_F(EstimateLayoutTest, AttentionInAFormatThatWasNotMeasuredHasTheNearestRows) {
  const auto nvfp4 = ask(tp8(16), "nvidia/DeepSeek-V3.2-NVFP4", "b200_sxm");
  ASSERT_TRUE(nvfp4) << nvfp4.error().message();
  EXPECT_EQ(nvfp4->formats.attention, "nvfp4");
  const auto attention =
      std::find_if(nvfp4->context.lines.begin(), nvfp4->context.lines.end(),
                   [](const LineTime& line) { return line.name == "context_attention"; });
  ASSERT_NE(attention, nvfp4->context.lines.end());
  EXPECT_EQ(attention->time.source, predict::Source::kModelled);
  EXPECT_THAT(nvfp4->warnings, Contains(HasSubstr("those with fp8_block stand for them")));
  const auto fp8 = ask(tp8(16), "deepseek-ai/DeepSeek-V3.2", "b200_sxm");
  ASSERT_TRUE(fp8);
  EXPECT_LT(*nvfp4->tpot_ms, *fp8->tpot_ms);  // its experts are half as large
  // The package has no answer there.
  auto inputs = tp8(16);
  inputs.method = Method::kCompatible;
  EXPECT_FALSE(ask(inputs, "nvidia/DeepSeek-V3.2-NVFP4", "b200_sxm"));
}

// GB200 has four GPUs a node: eight experts' ranks are two nodes of one NVLink domain.
TEST_F(EstimateLayoutTest, ExpertsOverSeveralNodesGetTheirTokensByCollectives) {
  const auto of = [&](Engine engine, const std::string& system, int gpus) {
    EstimateInputs inputs = tp8(4.0 * gpus);
    inputs.layout = {.dp = gpus, .moe_ep = gpus};
    inputs.engine = engine;
    return ask(inputs, "deepseek-ai/DeepSeek-V3.2", system);
  };
  for (const auto engine : {Engine::kSglang, Engine::kVllm, Engine::kTrtllm}) {
    for (const int gpus : {8, 16, 32}) {
      const auto answer = of(engine, "gb200", gpus);
      ASSERT_TRUE(answer) << answer.error().message();
      EXPECT_TRUE(answer->fits) << answer->reason;
      EXPECT_THAT(answer->warnings, Contains(HasSubstr("get their tokens by collectives")));
    }
  }
  const auto inside = of(Engine::kSglang, "h200_sxm", 8);
  ASSERT_TRUE(inside);
  EXPECT_THAT(inside->warnings, Not(Contains(HasSubstr("by collectives"))));
}

TEST_F(EstimateLayoutTest, OneRequestIsOneHoweverManyCopiesTheAttentionHas) {
  auto inputs = tp8(1);
  inputs.layout = {.dp = 8, .moe_ep = 8};
  inputs.mode = Mode::kInFlight;
  const auto one = ask(inputs);
  inputs.concurrency = 12;
  const auto twelve = ask(inputs);
  ASSERT_TRUE(one && twelve && one->fits && twelve->fits);
  EXPECT_EQ(one->concurrency, 1);
  EXPECT_EQ(twelve->concurrency, 12);
  EXPECT_THAT(twelve->warnings, Not(Contains(HasSubstr("not a multiple"))));
  // Experts see one token of decode instead of eight.
  EXPECT_LT(*one->tpot_ms, 0.9 * *twelve->tpot_ms);
}

// What SGLang 0.5.6 sets aside on H200 with 8 GPUs (server_args.py): 512 + 1.5 * 8192 + 1024 MB,
// and for graphs of 512 requests 2 MB each and, with 8 copies of the attention, 8 * 4.5 MB more.
TEST_F(EstimateLayoutTest, SglangSetsMemoryAsideByAllRanksOfAStage) {
  auto inputs = tp8(8);
  inputs.layout = {.dp = 8, .moe_ep = 8};
  const auto fraction = [](const Estimate& answer) {
    const auto& use = answer.memory;
    // 2 % of the fraction's memory are a tolerance of ours.
    return (use.weights + use.kv_cache) /
           (0.98 * (answer.capacity->card_bytes - use.others - use.nccl));
  };
  const auto aside = [](const Estimate& answer, double graph, double copy) {
    return 1 - (512 + 1.5 * 8192 + 1024 + graph * (2 + 8 * copy)) * (1 << 20) /
                   answer.capacity->card_bytes;
  };
  const auto answer = ask(inputs, "deepseek-ai/DeepSeek-V3.2");
  ASSERT_TRUE(answer && answer->fits);
  EXPECT_FALSE(answer->capacity->largest_graph);
  EXPECT_NEAR(fraction(*answer), aside(*answer, 512, 4.5), 1e-3);
  // GLM-5 has more weights than that leaves: it runs with smaller graphs, which need less.
  const auto glm = ask(inputs);
  ASSERT_TRUE(glm && glm->fits);
  EXPECT_EQ(glm->capacity->largest_graph, 256);
  EXPECT_NEAR(fraction(*glm), aside(*glm, 256, 3), 1e-3);
  EXPECT_THAT(glm->warnings, Contains(HasSubstr("--cuda-graph-max-bs 256")));
}

}  // namespace
}  // namespace dsaperf::serving
