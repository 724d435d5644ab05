#include "dsaperf/predict/layer_predictor.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace dsaperf::predict {
namespace {

using perfdb::Phase;

const Tables kTables{.system = "h200_sxm", .backend = "sglang", .version = ""};
const LayerKind kFp8{.architecture = "DeepseekV32ForCausalLM"};
const LayerKind kBf16{.architecture = "DeepseekV32ForCausalLM", .kv_dtype = "bfloat16"};
const LayerShape kPrefill{.heads = 16, .batch = 2, .new_tokens = 700, .past_tokens = 5000};
const LayerShape kDecode{.phase = Phase::kGeneration, .heads = 16, .batch = 5, .past_tokens = 3000};

class LayerPredictorTest : public ::testing::TestWithParam<Method> {
 protected:
  void SetUp() override {
    auto tree = perfdb::SystemsTree::discover();
    if (!tree) GTEST_SKIP() << tree.error().message();
    predictor.emplace(std::make_shared<const perfdb::SystemsTree>(*std::move(tree)), GetParam());
  }

  void expect_same(const Result<LayerLatency>& found, const Result<LayerLatency>& due) {
    ASSERT_TRUE(found && due);
    EXPECT_EQ(found->time.value, due->time.value);
    EXPECT_EQ(found->low, due->low);
    EXPECT_EQ(found->high, due->high);
    EXPECT_EQ(found->source, due->source);
  }

  std::optional<LayerPredictor> predictor;
};

TEST_P(LayerPredictorTest, ALayerAnswersAsItsNamesDo) {
  const auto fp8 = predictor->layer(kTables, kFp8);
  const auto bf16 = predictor->layer(kTables, kBf16);
  for (const auto& shape : {kPrefill, kDecode, kPrefill}) {
    expect_same(fp8.at(shape), predictor->at(kTables, kFp8, shape));
    expect_same(bf16.at(shape), predictor->at(kTables, kBf16, shape));
    EXPECT_NE(fp8.at(shape)->time.value, bf16.at(shape)->time.value);
  }
}

TEST_P(LayerPredictorTest, ALayerOutlivesAMoveOfItsPredictor) {
  const auto layer = predictor->layer(kTables, kFp8);
  const auto before = layer.at(kPrefill);
  const LayerPredictor moved = std::move(*predictor);
  expect_same(layer.at(kPrefill), before);
}

TEST_P(LayerPredictorTest, ALayerOfTablesThatAreNotThereFailsWhenAsked) {
  const auto layer =
      predictor->layer({.system = "no_such", .backend = "sglang", .version = ""}, kFp8);
  for (int asked = 0; asked < 2; ++asked) {
    const auto answer = layer.at(kPrefill);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), Errc::kNotFound);
  }
}

TEST_P(LayerPredictorTest, ANameThatIsInNobodysTablesIsNoQuestionForOthers) {
  const auto misspelt =
      predictor->at({.system = "h200_sxm", .backend = "sgl", .version = ""}, kFp8, kPrefill);
  ASSERT_FALSE(misspelt);
  for (const auto format : {&LayerKind::kv_dtype, &LayerKind::gemm_dtype, &LayerKind::fmha_dtype}) {
    LayerKind kind = kFp8;
    kind.*format = "int3";
    for (int asked = 0; asked < 2; ++asked) EXPECT_FALSE(predictor->at(kTables, kind, kPrefill));
  }
}

TEST_P(LayerPredictorTest, SizesThatNoPassHasAreRefused) {
  for (const auto field : {&LayerShape::heads, &LayerShape::batch, &LayerShape::new_tokens,
                           &LayerShape::past_tokens}) {
    for (const std::int64_t size : {std::int64_t{-1}, (std::int64_t{1} << 30) + 1,
                                    std::numeric_limits<std::int64_t>::max()}) {
      LayerShape shape = kPrefill;
      shape.*field = size;
      const auto answer = predictor->at(kTables, kFp8, shape);
      ASSERT_FALSE(answer) << size;
      EXPECT_EQ(answer.error().code(), Errc::kInvalidArgument);
    }
  }
}

// 16 tokens more of a long conversation: their scores grow with it, and nothing else (SGLang's
// rows, which go to 160,000 cached tokens, take 1.5 to 2 ms).
TEST(LongPrefixTest, TakesAFewTokensNoLongerThanItsScores) {
  auto tree = perfdb::SystemsTree::discover();
  if (!tree) GTEST_SKIP() << tree.error().message();
  LayerPredictor predictor(std::make_shared<const perfdb::SystemsTree>(*std::move(tree)),
                           Method::kStages);
  for (const auto* backend : {"sglang", "vllm"}) {
    const auto answer =
        predictor.at({.system = "h200_sxm", .backend = backend, .version = ""}, kFp8,
                     {.heads = 16, .batch = 1, .new_tokens = 16, .past_tokens = 100000});
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_LT(answer->time.millis(), 3) << backend;
  }
}

TEST(OwnTablesTest, AnswerBesideThoseOfFrameworks) {
  auto tree = perfdb::SystemsTree::discover();
  auto shipped = perfdb::SystemsTree::shipped();
  if (!tree || !shipped) GTEST_SKIP() << "no tables";
  const Tables ours{.system = "h200_sxm", .backend = "dsaperf", .version = ""};
  const LayerShape measured{.heads = 16, .batch = 1, .new_tokens = 4096};
  for (const auto method : {Method::kStages, Method::kCompatible}) {
    LayerPredictor beside(std::make_shared<const perfdb::SystemsTree>(*tree), method);
    LayerPredictor alone(std::make_shared<const perfdb::SystemsTree>(*shipped), method);
    const auto found = beside.at(ours, kFp8, measured);
    const auto due = alone.at(ours, kFp8, measured);
    ASSERT_TRUE(found && due);
    EXPECT_EQ(found->time.value, due->time.value);
    EXPECT_EQ(found->source, Source::kMeasured);
  }
}

INSTANTIATE_TEST_SUITE_P(Methods, LayerPredictorTest,
                         ::testing::Values(Method::kStages, Method::kCompatible),
                         [](const auto& method) { return std::string(name(method.param)); });

}  // namespace
}  // namespace dsaperf::predict
