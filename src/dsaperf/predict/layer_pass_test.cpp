#include "dsaperf/predict/layer_pass.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace dsaperf::predict {
namespace {

using perfdb::Phase;

TEST(ParseRequestsTest, ReadsGroupsAndNamesTheWrongOne) {
  const auto groups = parse_requests("3x512+4096,1x2048");
  ASSERT_TRUE(groups);
  EXPECT_EQ(*groups,
            (std::vector<RequestGroup>{{.count = 3, .new_tokens = 512, .past_tokens = 4096},
                                       {.count = 1, .new_tokens = 2048}}));
  for (const auto* wrong : {"", "3", "x4", "0x4", "2x0", "1x4+", "1x4+-1", "1x4,"}) {
    EXPECT_FALSE(parse_requests(wrong)) << wrong;
  }
}

TEST(AfterCacheHitTest, ComputesAtLeastOneToken) {
  const LayerShape prompt{.heads = 16, .new_tokens = 1000, .past_tokens = 10};
  EXPECT_EQ(after_cache_hit(prompt, 600).new_tokens, 400);
  EXPECT_EQ(after_cache_hit(prompt, 600).past_tokens, 610);
  EXPECT_EQ(after_cache_hit(prompt, 5000).new_tokens, 1);
  EXPECT_EQ(after_cache_hit(prompt, 5000).past_tokens, 1009);
}

class LayerPassTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tree = perfdb::SystemsTree::discover();
    if (!tree) GTEST_SKIP() << tree.error().message();
    predictor = std::make_unique<LayerPredictor>(
        std::make_shared<const perfdb::SystemsTree>(*std::move(tree)), Method::kStages);
  }
  std::unique_ptr<LayerPredictor> predictor;
  Tables tables{.system = "h200_sxm", .backend = "sglang", .version = ""};
  LayerKind kind{.architecture = "DeepseekV32ForCausalLM"};
};

TEST_F(LayerPassTest, OneGroupIsThePlainQuestion) {
  const LayerShape shape{.phase = Phase::kGeneration, .heads = 16, .batch = 6, .past_tokens = 5000};
  const auto plain = predictor->at(tables, kind, shape);
  const auto pass = at_requests(*predictor, tables, kind, shape, {{6, 1, 5000}});
  ASSERT_TRUE(plain) << plain.error().message();
  ASSERT_TRUE(pass);
  EXPECT_DOUBLE_EQ(pass->time.value, plain->time.value);
  EXPECT_DOUBLE_EQ(pass->low->value, plain->low->value);
  EXPECT_EQ(pass->source, plain->source);
}

TEST_F(LayerPassTest, ARaggedBatchLiesBetweenItsShortestAndItsLongest) {
  const LayerShape shape{.phase = Phase::kGeneration, .heads = 16};
  const auto at = [&](const std::vector<RequestGroup>& groups) {
    const auto latency = at_requests(*predictor, tables, kind, shape, groups);
    EXPECT_TRUE(latency);
    return latency ? latency->time.value : 0;
  };
  const double mixed = at({{8, 1, 4096}, {8, 1, 16384}});
  EXPECT_GT(mixed, at({{16, 1, 4096}}));
  EXPECT_LT(mixed, at({{16, 1, 16384}}));
}

// Half of the requests below topk: beside long ones they run in the sparse regime, whose prefill is
// dearer than the dense one in these tables (the step at topk).
TEST_F(LayerPassTest, ShortRequestsBesideALongOneRunInItsRegime) {
  const LayerShape shape{.phase = Phase::kContext, .heads = 16};
  const auto mixed = at_requests(*predictor, tables, kind, shape, {{1, 512, 0}, {1, 512, 4096}});
  const auto dense = at_requests(*predictor, tables, kind, shape, {{2, 512, 0}});
  const auto sparse = at_requests(*predictor, tables, kind, shape, {{2, 512, 4096}});
  ASSERT_TRUE(mixed && dense && sparse);
  EXPECT_GT(mixed->time.value, (dense->time.value + sparse->time.value) / 2);
}

TEST_F(LayerPassTest, ChunksAddUpAndEachHasItsOwnPast) {
  const LayerShape shape{
      .phase = Phase::kContext, .heads = 16, .new_tokens = 5000, .past_tokens = 100};
  const auto chunked = at_chunks(*predictor, tables, kind, shape, 2048);
  ASSERT_TRUE(chunked) << chunked.error().message();
  ASSERT_EQ(chunked->chunks.size(), 3U);
  EXPECT_EQ(chunked->chunks[2].new_tokens, 904);
  EXPECT_EQ(chunked->chunks[2].past_tokens, 4196);
  double sum = 0;
  for (const auto& chunk : chunked->chunks) sum += chunk.latency.time.value;
  EXPECT_NEAR(chunked->total.time.value, sum, 1e-9 * sum);
}

TEST_F(LayerPassTest, WhatHasNoRowsIsModelledWithAWiderInterval) {
  const LayerShape shape{.phase = Phase::kGeneration, .heads = 16, .batch = 8, .past_tokens = 6000};
  const auto width = [](const LayerLatency& l) { return l.high->value / l.low->value; };
  const auto measured = predictor->at(tables, kind, shape);
  ASSERT_TRUE(measured);
  // A cache format, a card with a specification alone, several tokens a request.
  auto several = shape;
  several.new_tokens = 2;
  const Tables h20{.system = "h20", .backend = "sglang", .version = ""};
  auto other = kind;
  other.kv_dtype = "nvfp4";
  for (const auto& answer : {predictor->at(tables, other, shape), predictor->at(h20, kind, shape),
                             predictor->at(tables, kind, several)}) {
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(answer->source, Source::kModelled);
    EXPECT_FALSE(answer->warnings.empty());
    EXPECT_GT(width(*answer), width(*measured));
  }
  EXPECT_FALSE(
      predictor->at({.system = "no_such_card", .backend = "sglang", .version = ""}, kind, shape));
}

TEST_F(LayerPassTest, NoStageIsBelowItsBoundAndTheyAddUp) {
  for (const LayerShape& shape :
       {LayerShape{.phase = Phase::kContext, .heads = 16, .new_tokens = 4000, .past_tokens = 30000},
        LayerShape{.phase = Phase::kContext, .heads = 128, .batch = 4, .new_tokens = 300},
        LayerShape{.phase = Phase::kContext, .heads = 16, .new_tokens = 16},
        LayerShape{.phase = Phase::kGeneration, .heads = 64, .batch = 24, .past_tokens = 5000},
        LayerShape{.phase = Phase::kGeneration, .heads = 64, .batch = 600, .past_tokens = 100}}) {
    const auto answer = predictor->at(tables, kind, shape);
    const auto why = predictor->explain(tables, kind, shape);
    ASSERT_TRUE(answer && why);
    double sum = 0;
    for (const auto& share : why->stages) {
      EXPECT_GE(share.time.value, share.bound.value * (1 - 1e-9)) << share.stage;
      sum += share.time.value;
    }
    EXPECT_NEAR(sum, answer->time.value, 1e-6 * sum);
  }
}

TEST(WarningsTest, SayEverySentenceOnce) {
  Warnings warnings;
  EXPECT_TRUE(warnings.empty());
  warnings.add("rows of vllm");
  warnings.add("rows of vllm");
  const auto before = warnings;
  Warnings others;
  others.add("defects");
  others.add("rows of vllm");
  warnings.add(others);
  EXPECT_THAT(warnings.all(), ::testing::ElementsAre("rows of vllm", "defects"));
  EXPECT_THAT(before.all(), ::testing::ElementsAre("rows of vllm"));
}

}  // namespace
}  // namespace dsaperf::predict
