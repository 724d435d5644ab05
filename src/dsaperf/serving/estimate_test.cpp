#include "dsaperf/serving/estimate.hpp"

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

class EstimateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto systems = dsaperf::testing::systems_tree();
    if (!systems) GTEST_SKIP() << dsaperf::testing::kNoSystems;
    tree = std::make_shared<const perfdb::SystemsTree>(*perfdb::SystemsTree::open(*systems));
  }
  Result<Estimate> ask(const EstimateInputs& inputs,
                       const std::string& model = "zai-org/GLM-5-FP8") {
    auto set = predict::compatible::OperatorSet::open(tree, "h200_sxm",
                                                      std::string(name(inputs.engine)), "");
    return estimate(*model::load_model(model), *set, inputs);
  }
  static EstimateInputs tp8(double concurrency) {
    EstimateInputs inputs;
    inputs.layout = {.tp = 8, .moe_tp = 8};
    inputs.isl = 2048;
    inputs.osl = 256;
    inputs.concurrency = concurrency;
    return inputs;
  }

  std::shared_ptr<const perfdb::SystemsTree> tree;
};

TEST_F(EstimateTest, MoreAtATimeIsSlowerForEachAndFasterForAll) {
  const auto few = ask(tp8(1));
  const auto many = ask(tp8(32));
  ASSERT_TRUE(few && many);
  EXPECT_GT(*many->ttft_ms, *few->ttft_ms);
  EXPECT_GT(*many->tpot_ms, *few->tpot_ms);
  EXPECT_GT(*many->output_tok_s_per_gpu, *few->output_tok_s_per_gpu);
}

TEST_F(EstimateTest, WhatDoesNotFitHasAReasonAndNoTimes) {
  auto inputs = tp8(1);
  inputs.layout = {};
  for (const Method method : {Method::kModel, Method::kCompatible}) {
    inputs.method = method;
    const auto result = ask(inputs);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_FALSE(result->fits);
    EXPECT_FALSE(result->ttft_ms || result->tpot_ms || result->output_tok_s);
    EXPECT_THAT(result->reason, ::testing::HasSubstr("would make it fit"));
  }
}

TEST_F(EstimateTest, AContradictoryLayoutIsNamed) {
  auto inputs = tp8(1);
  inputs.layout.moe_ep = 4;
  EXPECT_THAT(ask(inputs).error().message(), ::testing::HasSubstr("must be equal"));
  inputs.layout = {.tp = 7, .moe_tp = 7};
  EXPECT_THAT(ask(inputs).error().message(), ::testing::HasSubstr("do not divide"));
}

TEST_F(EstimateTest, AFractionOfMemoryTakesRequestsAway) {
  auto inputs = tp8(1);
  const auto more = ask(inputs);
  inputs.memory_fraction = 0.8;
  const auto less = ask(inputs);
  ASSERT_TRUE(more && less);
  EXPECT_LT(less->capacity->cache_tokens, more->capacity->cache_tokens);
}

TEST_F(EstimateTest, QuirksChangeTheCompatibleAnswer) {
  auto inputs = tp8(4);
  inputs.method = Method::kCompatible;
  const auto all = ask(inputs);
  for (const Quirk quirk :
       {Quirk::kGlmFp8AttentionAsBf16, Quirk::kDenseLayersAsMoe, Quirk::kQueueFactor}) {
    inputs.quirks = Quirks::all();
    inputs.quirks.set(quirk, false);
    const auto without = ask(inputs);
    ASSERT_TRUE(without) << without.error().message();
    EXPECT_NE(*without->ttft_ms, *all->ttft_ms) << name(quirk);
  }
}

TEST_F(EstimateTest, ACachedPrefixBringsTheFirstTokenForward) {
  auto inputs = tp8(1);
  inputs.isl = 8192;
  const auto cold = ask(inputs);
  inputs.prefix = 6144;
  const auto warm = ask(inputs);
  ASSERT_TRUE(cold && warm);
  EXPECT_LT(*warm->ttft_ms, *cold->ttft_ms);
}

}  // namespace
}  // namespace dsaperf::serving
