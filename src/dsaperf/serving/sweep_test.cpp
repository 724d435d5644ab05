#include "dsaperf/serving/sweep.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/serving/launch_command.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>

namespace dsaperf::serving {
namespace {

using ::testing::StartsWith;

class SweepTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto systems = dsaperf::testing::systems_tree();
    if (!systems) GTEST_SKIP() << dsaperf::testing::kNoSystems;
    tree = std::make_shared<const perfdb::SystemsTree>(*perfdb::SystemsTree::open(*systems));
  }
  SweepResult run(const std::string& model, const std::vector<Engine>& engines,
                  const SweepInputs& inputs, const std::string& system = "h200_sxm") {
    auto result = sweep(
        *model::load_model(model), engines,
        [&](Engine engine) {
          return predict::compatible::OperatorSet::open(tree, system, std::string(name(engine)),
                                                        "");
        },
        inputs);
    EXPECT_TRUE(result) << result.error().message();
    return *std::move(result);
  }

  std::shared_ptr<const perfdb::SystemsTree> tree;
};

TEST_F(SweepTest, TheFrontIsThePackages) {
  const auto rows = dsaperf::testing::fixture("aic/sweep.csv.gz");
  if (!rows) GTEST_SKIP() << dsaperf::testing::kNoFixtures;
  const auto result = run("deepseek-ai/DeepSeek-V3.2", {Engine::kSglang},
                          {.gpus = 8,
                           .isl = 4096,
                           .osl = 1024,
                           .ttft_limit_ms = 5000,
                           .tpot_limit_ms = 100,
                           .method = Method::kCompatible,
                           .formats = {}});
  auto csv = CsvReader::open(*rows);
  ASSERT_TRUE(csv && csv->next());
  std::map<std::string, std::size_t> column;
  for (std::size_t i = 0; i < csv->fields().size(); ++i) column.emplace(csv->fields()[i], i);
  std::size_t at = 0;
  for (; *csv->next(); ++at) {
    ASSERT_LT(at, result.aggregated_pareto.size());
    const auto& point = result.aggregated_pareto[at];
    const auto number = [&](const char* name) {
      return *parse_double(csv->field(column.at(name)));
    };
    EXPECT_EQ(point.layout.text(), csv->field(column.at("parallel"))) << at;
    EXPECT_EQ(point.batch, number("bs")) << at;
    EXPECT_EQ(point.chunk, number("ctx_tokens")) << at;
    constexpr double kRounding = 0.0005001;  // the file has three decimals
    EXPECT_NEAR(point.form.ttft_ms, number("ttft"), kRounding) << at;
    EXPECT_NEAR(point.form.tpot_ms, number("tpot"), kRounding) << at;
    EXPECT_NEAR(point.tok_s_per_gpu(), number("tokens/s/gpu"), kRounding) << at;
    EXPECT_NEAR(point.form.memory.total() / kGibi, number("memory"), kRounding) << at;
    EXPECT_NEAR(point.tok_s_per_cluster_gpu(8), number("tokens/s/gpu_cluster"), kRounding) << at;
  }
  EXPECT_EQ(at, result.aggregated_pareto.size());
}

TEST_F(SweepTest, PrefillsInTheChunksOfTheEngineOnTheCard) {
  const std::map<std::string, double> chunks = {{"h200_sxm", 8192}, {"b200_sxm", 16384}};
  for (const auto& [system, chunk] : chunks) {
    const auto result =
        run("zai-org/GLM-5-FP8", {Engine::kSglang},
            {.gpus = 8, .isl = 4096, .osl = 512, .formats = {}, .simulate = 0}, system);
    ASSERT_FALSE(result.candidates.empty());
    for (const auto& candidate : result.candidates) {
      const auto& prefills = candidate.prefill ? candidate.prefill->layout : candidate.layout;
      EXPECT_EQ(candidate.chunk, std::floor(chunk / prefills.dp)) << system;
    }
  }
}

TEST_F(SweepTest, CandidatesMeetTheLimitsAndAreRanked) {
  const auto result = run("zai-org/GLM-5-FP8", {Engine::kSglang, Engine::kVllm},
                          {.gpus = 8,
                           .isl = 4096,
                           .osl = 512,
                           .ttft_limit_ms = 3000,
                           .tpot_limit_ms = 40,
                           .formats = {}});
  ASSERT_FALSE(result.candidates.empty());
  double before = std::numeric_limits<double>::infinity();
  for (const auto& candidate : result.candidates) {
    EXPECT_LE(candidate.form.ttft_ms, 3000);
    EXPECT_LE(candidate.form.tpot_ms, 40);
    EXPECT_FALSE(candidate.binds.empty());
    EXPECT_LE(candidate.tok_s_per_cluster_gpu(8), before);
    before = candidate.tok_s_per_cluster_gpu(8);
  }
  for (const auto& rejected : result.rejected) EXPECT_FALSE(rejected.reason.empty());
}

TEST_F(SweepTest, NoPointOfTheFrontBeatsAnother) {
  const auto result = run("zai-org/GLM-5-FP8", {Engine::kSglang},
                          {.gpus = 8, .isl = 2048, .osl = 256, .formats = {}});
  for (std::size_t i = 1; i < result.pareto.size(); ++i) {
    EXPECT_GT(result.pareto[i].tok_s_per_user(), result.pareto[i - 1].tok_s_per_user());
    EXPECT_LT(result.pareto[i].tok_s_per_cluster_gpu(8),
              result.pareto[i - 1].tok_s_per_cluster_gpu(8));
  }
}

TEST_F(SweepTest, TheAnswerDoesNotDependOnThreads) {
  SweepInputs inputs{.gpus = 16, .isl = 2048, .osl = 256, .formats = {}};
  inputs.threads = 1;
  const auto one = run("deepseek-ai/DeepSeek-V3.2", {Engine::kSglang, Engine::kVllm}, inputs);
  inputs.threads = 5;
  const auto five = run("deepseek-ai/DeepSeek-V3.2", {Engine::kSglang, Engine::kVllm}, inputs);
  ASSERT_EQ(one.candidates.size(), five.candidates.size());
  EXPECT_EQ(one.points, five.points);
  for (std::size_t i = 0; i < one.candidates.size(); ++i) {
    EXPECT_EQ(one.candidates[i].layout.text(), five.candidates[i].layout.text());
    EXPECT_EQ(one.candidates[i].form.ttft_ms, five.candidates[i].form.ttft_ms);
  }
  EXPECT_EQ(one.candidates[0].simulation->ttft_ms.p99, five.candidates[0].simulation->ttft_ms.p99);
}

TEST_F(SweepTest, DisaggregatedWorkersFitTheirGpusAndTheLimits) {
  SweepInputs inputs{.gpus = 16,
                     .isl = 4096,
                     .osl = 512,
                     .ttft_limit_ms = 3000,
                     .tpot_limit_ms = 40,
                     .formats = {}};
  inputs.aggregated = false;
  const auto result = run("deepseek-ai/DeepSeek-V3.2", {Engine::kSglang}, inputs);
  ASSERT_FALSE(result.candidates.empty());
  for (const auto& candidate : result.candidates) {
    ASSERT_TRUE(candidate.prefill);
    EXPECT_LE(candidate.gpus() * candidate.workers, 16);
    EXPECT_LE(candidate.form.ttft_ms, 3000);
    EXPECT_LE(candidate.form.tpot_ms, 40);
    EXPECT_LE(candidate.prefill->busy, 0.85);
    EXPECT_THAT(launch_command(candidate, "m"),
                ::testing::HasSubstr("--disaggregation-mode prefill"));
  }
  inputs.gpus = 8;  // the weights take a node
  const auto none = run("deepseek-ai/DeepSeek-V3.2", {Engine::kSglang}, inputs);
  EXPECT_TRUE(none.candidates.empty());
  EXPECT_THAT(none.rejected.back().reason, ::testing::HasSubstr("and there are 8"));
}

TEST_F(SweepTest, CompatiblePairsShareTheirGpusAndTheSlowerKindCounts) {
  SweepInputs inputs{.gpus = 16,
                     .isl = 4096,
                     .osl = 512,
                     .ttft_limit_ms = 5000,
                     .tpot_limit_ms = 60,
                     .method = Method::kCompatible,
                     .formats = {}};
  inputs.aggregated = false;
  const auto result = run("deepseek-ai/DeepSeek-V3.2", {Engine::kSglang}, inputs);
  ASSERT_FALSE(result.candidates.empty());
  ASSERT_FALSE(result.disaggregated_pareto.empty());
  for (const auto& candidate : result.disaggregated_pareto) {
    ASSERT_TRUE(candidate.prefill);
    const auto& side = *candidate.prefill;
    EXPECT_EQ(candidate.gpus() * candidate.workers, 16);
    EXPECT_LT(candidate.form.ttft_ms, 5000);
    EXPECT_NEAR(candidate.form.request_s,
                std::min(side.requests_s * side.workers * 0.9,
                         candidate.prefill->decode_requests_s * side.decode_workers * 0.92),
                1e-9);
  }
  for (const auto& candidate : result.candidates) EXPECT_LE(candidate.form.tpot_ms, 60);
}

TEST_F(SweepTest, PairsOfUnlikeTensorParallelismAreLeftOutByAQuirk) {
  SweepInputs inputs{.gpus = 32,
                     .isl = 8192,
                     .osl = 256,
                     .method = Method::kCompatible,
                     .formats = {},
                     .disaggregated = true};
  inputs.aggregated = false;
  const auto best = [&](std::initializer_list<Quirk> off) {
    inputs.quirks = Quirks::all();
    for (const Quirk quirk : off) inputs.quirks.set(quirk, false);
    return run("zai-org/GLM-5-FP8", {Engine::kSglang}, inputs);
  };
  const auto all = best({});
  const auto any_tp = best({Quirk::kSameTpOnSglang});
  const auto differ = [](const SweepResult& result) {
    return std::any_of(result.disaggregated_pareto.begin(), result.disaggregated_pareto.end(),
                       [](const Candidate& c) { return c.prefill->layout.tp != c.layout.tp; });
  };
  EXPECT_FALSE(differ(all));
  EXPECT_TRUE(differ(any_tp));
}

TEST_F(SweepTest, TheNarrowSearchLeavesPointsOfTheFrontOut) {
  SweepInputs inputs{.gpus = 16,
                     .isl = 1024,
                     .osl = 256,
                     .ttft_limit_ms = 20000,
                     .method = Method::kCompatible,
                     .formats = {}};
  inputs.aggregated = false;
  const auto narrow = run("zai-org/GLM-5-FP8", {Engine::kSglang}, inputs);
  inputs.quirks.set(Quirk::kNarrowSearch, false);
  const auto wide = run("zai-org/GLM-5-FP8", {Engine::kSglang}, inputs);
  EXPECT_GT(wide.disaggregated_pareto.size(), narrow.disaggregated_pareto.size());
}

TEST_F(SweepTest, LimitsThatNothingMeetsLeaveReasons) {
  const auto result = run(
      "zai-org/GLM-5-FP8", {Engine::kSglang},
      {.gpus = 8, .isl = 4096, .osl = 512, .ttft_limit_ms = 1, .tpot_limit_ms = 1, .formats = {}});
  EXPECT_TRUE(result.candidates.empty());
  EXPECT_FALSE(result.rejected.empty());
}

TEST_F(SweepTest, WhatIsNoLoadOrLimitIsRefused) {
  const auto wrong = [&](double isl, double osl, double prefix, double ttft_limit_ms) {
    SweepInputs inputs;
    inputs.isl = isl;
    inputs.osl = osl;
    inputs.prefix = prefix;
    inputs.ttft_limit_ms = ttft_limit_ms;
    const auto open = [&](Engine) {
      return predict::compatible::OperatorSet::open(tree, "h200_sxm", "sglang", "");
    };
    const auto result =
        sweep(*model::load_model("zai-org/GLM-5-FP8"), {Engine::kSglang}, open, inputs);
    return result ? "an answer" : result.error().message();
  };
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(wrong(kNan, 16, 0, 100), StartsWith("isl nan"));
  EXPECT_THAT(wrong(4096, 0, 0, 100), StartsWith("isl 4096, osl 0"));
  EXPECT_THAT(wrong(4096, 16, 4096, 100), StartsWith("isl 4096, osl 16, prefix 4096"));
  EXPECT_THAT(wrong(4096, 16, 0, kNan), StartsWith("a limit of nan ms"));
}

TEST(LaunchCommandTest, NamesTheLayout) {
  Candidate candidate;
  candidate.layout = {.tp = 2, .dp = 4, .moe_tp = 1, .moe_ep = 8};
  candidate.formats.kv = "fp8";
  candidate.batch = 16;
  candidate.chunk = 2048;
  const auto text = launch_command(candidate, "m");
  EXPECT_THAT(text,
              ::testing::HasSubstr("--tp-size 8 --dp-size 4 --enable-dp-attention --ep-size 8"));
  EXPECT_THAT(text, ::testing::HasSubstr("--max-running-requests 64"));
  EXPECT_THAT(text, Not(::testing::HasSubstr("--cuda-graph-max-bs")));
  candidate.largest_graph = 256;
  EXPECT_THAT(launch_command(candidate, "m"), ::testing::HasSubstr("--cuda-graph-max-bs 256"));
}

// "auto" is what the checkpoint asks for, which may be fp8.
TEST(LaunchCommandTest, NamesVllmsCache) {
  Candidate candidate;
  candidate.engine = Engine::kVllm;
  candidate.formats.kv = "bfloat16";
  EXPECT_THAT(launch_command(candidate, "m"), ::testing::HasSubstr("--kv-cache-dtype bfloat16"));
  candidate.formats.kv = "fp8";
  EXPECT_THAT(launch_command(candidate, "m"), ::testing::HasSubstr("--kv-cache-dtype fp8"));
}

}  // namespace
}  // namespace dsaperf::serving
