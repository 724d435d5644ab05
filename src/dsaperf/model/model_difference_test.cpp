#include "dsaperf/model/model_difference.hpp"

#include "dsaperf/model/aiconfigurator_mapping.hpp"
#include "dsaperf/model/kernel_support.hpp"
#include "dsaperf/model/layer_runs.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/model/score_buffer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

namespace dsaperf::model {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ModelSpec bundled(std::string_view name) {
  return load_model(name).value();
}

std::set<DifferenceMeaning> meanings(const std::vector<Difference>& found) {
  std::set<DifferenceMeaning> all;
  for (const auto& difference : found) all.insert(difference.meaning);
  return all;
}

TEST(ModelDifferenceTest, IsEmptyBetweenAModelAndItself) {
  const auto known = load_bundled_models().value();
  for (const auto& spec : known) {
    EXPECT_THAT(differences(spec, spec), IsEmpty()) << spec.name;
  }
}

TEST(ModelDifferenceTest, SharedSelectionIsAnotherLayerMixOfTheSameKernels) {
  const auto found = differences(bundled("zai-org/GLM-5.2"), bundled("zai-org/GLM-5"));
  EXPECT_THAT(meanings(found),
              ElementsAre(DifferenceMeaning::kLayerMix, DifferenceMeaning::kNumber));
  EXPECT_THAT(verdict(found, "GLM-5"), HasSubstr("serve as they are"));
}

TEST(ModelDifferenceTest, AnotherFormatIsStorageAlone) {
  const auto found = differences(bundled("zai-org/GLM-5-FP8"), bundled("zai-org/GLM-5"));
  EXPECT_THAT(meanings(found), ElementsAre(DifferenceMeaning::kStorage));
}

TEST(ModelDifferenceTest, AnotherMethodDoesNotCarryOver) {
  const auto found =
      differences(bundled("MiniMaxAI/MiniMax-M3"), bundled("deepseek-ai/DeepSeek-V3.2"));
  EXPECT_EQ(found.front().meaning, DifferenceMeaning::kMethod);
  EXPECT_THAT(verdict(found, "V3.2"), HasSubstr("does not carry over"));
}

TEST(ModelDifferenceTest, NearestIsTheCloserRelative) {
  const auto known = load_bundled_models().value();
  EXPECT_EQ(nearest_model(bundled("zai-org/GLM-5.1-FP8"), known)->name, "zai-org/GLM-5-FP8");
  EXPECT_EQ(nearest_model(bundled("nvidia/DeepSeek-V3.2-NVFP4"), known)->name,
            "deepseek-ai/DeepSeek-V3.2");
  EXPECT_FALSE(nearest_model(bundled("zai-org/GLM-5"), {}).has_value());
}

TEST(LayerRunsTest, CoverEveryLayerOnce) {
  const auto known = load_bundled_models().value();
  for (const auto& spec : known) {
    int next = 0;
    for (const auto& run : layer_runs(spec)) {
      EXPECT_EQ(run.first, next) << spec.name;
      next = run.last + 1;
    }
    EXPECT_EQ(next, static_cast<int>(spec.layers.size())) << spec.name;
  }
}

TEST(LayerRunsTest, AreShort) {
  const auto spec = bundled("zai-org/GLM-5.2");
  const auto runs = layer_runs(spec);
  ASSERT_EQ(runs.size(), 3U);
  EXPECT_EQ(describe_attention(runs[1]), "DSA, indexer full every 4th from 6, else shared");
  EXPECT_EQ(describe_mlp(runs[1]), "MoE");
  const auto compressed = bundled("deepseek-ai/DeepSeek-V4-Flash");
  EXPECT_EQ(describe_attention(layer_runs(compressed)[1]), "CSA 4, HCA 128 in turn");
}

TEST(KernelSupportTest, NamesEveryReasonAgainst) {
  EXPECT_TRUE(kernel_support(bundled("deepseek-ai/DeepSeek-V3.2"), 8).runs);
  EXPECT_TRUE(kernel_support(bundled("zai-org/GLM-5"), 1).runs);
  EXPECT_THAT(kernel_support(bundled("zai-org/GLM-5"), 16).reasons,
              ElementsAre(HasSubstr("4 heads a rank at tp 16")));
  EXPECT_THAT(kernel_support(bundled("moonshotai/Kimi-K2-Instruct"), 1).reasons,
              ElementsAre(HasSubstr("nothing in this model selects")));
  auto narrow = bundled("zai-org/GLM-5");
  for (auto& layer : narrow.layers) {
    layer.geometry.kv_lora = 128;
    layer.indexer->topk = 8192;
  }
  EXPECT_EQ(kernel_support(narrow, 1).reasons.size(), 2U);
}

TEST(ScoreBufferTest, IsFourBytesAPairAndTheChunkStaysWithinTheBudget) {
  const auto spec = bundled("deepseek-ai/DeepSeek-V3.2");
  const auto& layer = typical_layer(spec);
  EXPECT_EQ(score_buffer(layer, 8192, 131072).value, 4LL * 8192 * 131072);
  const Bytes budget{1 << 30};
  const auto chunk = chunk_within(layer, budget, 131072);
  EXPECT_EQ(chunk, 2048);
  EXPECT_LE(score_buffer(layer, chunk, 131072), budget);
  EXPECT_GT(score_buffer(layer, chunk + 64, 131072), budget);
  EXPECT_EQ(chunk_within(layer, {4 * 131072 - 1}, 131072), 0);
  const auto dense = bundled("deepseek-ai/DeepSeek-V3");
  EXPECT_EQ(score_buffer(typical_layer(dense), 8192, 131072).value, 0);
}

TEST(AiconfiguratorMappingTest, KnowsDsaByNameAndSizes) {
  const auto mapping = aiconfigurator_mapping(bundled("zai-org/GLM-5-FP8"));
  EXPECT_EQ(mapping.family, "DEEPSEEKV32");
  EXPECT_TRUE(mapping.exact);
  EXPECT_THAT(mapping.context_operations, ElementsAre("ContextDSAModule"));
  EXPECT_THAT(mapping.notes, Contains(HasSubstr("as bf16")));
}

TEST(AiconfiguratorMappingTest, SaysThatOtherSizesWouldBeUsedInSilence) {
  auto spec = bundled("zai-org/GLM-5");
  for (auto& layer : spec.layers) layer.indexer->topk = 1024;
  const auto mapping = aiconfigurator_mapping(spec);
  EXPECT_FALSE(mapping.exact);
  EXPECT_THAT(mapping.needs, ElementsAre(HasSubstr("index_topk 1024 (assumed 2048)")));
}

TEST(AiconfiguratorMappingTest, SaysWhatANewArchitectureTakes) {
  auto spec = bundled("zai-org/GLM-5");
  spec.architecture = "NewDsaForCausalLM";
  const auto mapping = aiconfigurator_mapping(spec);
  EXPECT_TRUE(mapping.family.empty());
  EXPECT_THAT(mapping.needs, Contains(HasSubstr("register NewDsaForCausalLM")));
  EXPECT_THAT(mapping.needs, Contains(HasSubstr("dsa_context_module_perf")));
}

}  // namespace
}  // namespace dsaperf::model
