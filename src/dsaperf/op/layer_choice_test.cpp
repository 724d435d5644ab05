#include "dsaperf/op/layer_choice.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::op {
namespace {

using ::testing::HasSubstr;

class LayerChoiceTest : public ::testing::Test {
 protected:
  void SetUp() override { set_data_dir(DSAPERF_SOURCE_DIR "/data"); }
};

TEST_F(LayerChoiceTest, TakesDeepSeekV32AsItsConfigSays) {
  const auto model = model::load_model("deepseek-ai/DeepSeek-V3.2").value();
  const auto spec = layer_spec(model, {}).value();
  EXPECT_EQ(spec.hidden, 7168);
  EXPECT_EQ(spec.heads, 128);
  EXPECT_EQ(spec.nope + spec.v, 256);
  EXPECT_EQ(spec.topk, 2048);
  EXPECT_EQ(spec.index_rope, kernels::RopePairs::kHalfSplit);
  EXPECT_EQ(spec.rope.factor, 40);
  EXPECT_EQ(spec.rope.original_positions, 4096);
  EXPECT_NEAR(spec.softmax_scale, 1.3689 * 1.3689 / std::sqrt(192.0), 1e-4);
  EXPECT_TRUE(spec.has_indexer);
}

TEST_F(LayerChoiceTest, GlmRotatesIndexKeysInterleavedAndSharesSelections) {
  const auto model = model::load_model("zai-org/GLM-5.2-FP8").value();
  EXPECT_EQ(layer_spec(model, {.layer = 6})->index_rope, kernels::RopePairs::kInterleaved);
  EXPECT_TRUE(layer_spec(model, {.layer = 6})->has_indexer);
  EXPECT_FALSE(layer_spec(model, {.layer = 7})->has_indexer);
  EXPECT_NEAR(layer_spec(model, {})->softmax_scale, 1 / 16.0, 1e-7);
  EXPECT_EQ(layer_spec(model, {.heads = 8})->heads, 8);
}

TEST_F(LayerChoiceTest, RefusesWhatTheModelDoesNotHave) {
  const auto model = model::load_model("zai-org/GLM-5").value();
  EXPECT_EQ(layer_spec(model, {.layer = 1000}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(layer_spec(model, {.heads = 48}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(layer_spec(model, {.heads = -8}).error().code(), Errc::kInvalidArgument);
}

TEST_F(LayerChoiceTest, RefusesAModelWithoutSparseAttention) {
  const auto model = model::load_model("deepseek-ai/DeepSeek-V3").value();
  const auto spec = layer_spec(model, {});
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code(), Errc::kUnsupported);
  EXPECT_THAT(spec.error().message(), HasSubstr("only DSA layers"));
}

}  // namespace
}  // namespace dsaperf::op
