#include "dsaperf/model/quantisation.hpp"

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace dsaperf::model {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

json moe_config() {
  return {{"num_hidden_layers", 12},   {"hidden_size", 1024},         {"num_attention_heads", 16},
          {"vocab_size", 1000},        {"q_lora_rank", 256},          {"kv_lora_rank", 512},
          {"qk_nope_head_dim", 128},   {"qk_rope_head_dim", 64},      {"v_head_dim", 128},
          {"intermediate_size", 2048}, {"n_routed_experts", 8},       {"num_experts_per_tok", 2},
          {"n_shared_experts", 1},     {"index_n_heads", 8},          {"index_head_dim", 128},
          {"index_topk", 2048},        {"moe_intermediate_size", 256}};
}

ModelSpec read(const json& quantisation, const json& quant_file = nullptr) {
  auto config = moe_config();
  if (!quantisation.is_null()) config["quantization_config"] = quantisation;
  auto spec = parse_model(config.dump(), quant_file.is_null() ? "" : quant_file.dump(), "test");
  EXPECT_TRUE(spec.has_value()) << spec.error().message();
  return spec ? *std::move(spec) : ModelSpec{};
}

json fp8_without(const json& modules) {
  return {{"quant_method", "fp8"},
          {"weight_block_size", {128, 128}},
          {"modules_to_not_convert", modules}};
}

TEST(QuantisationTest, NothingSaidIsBf16) {
  const auto spec = read(nullptr);
  EXPECT_EQ(spec.layers[0].formats.q_a, WeightFormat::kBf16);
  EXPECT_EQ(spec.quantisation, "none (bf16)");
}

TEST(QuantisationTest, ALayerNormInTheListLeavesTheProjectionsQuantised) {
  const auto spec = read(fp8_without({"model.layers.3.self_attn.q_a_layernorm",
                                      "model.layers.3.self_attn.kv_a_layernorm",
                                      "model.layers.3.self_attn.indexer.weights_proj", "gate"}));
  const auto& formats = spec.layers[3].formats;
  EXPECT_EQ(formats.q_a, WeightFormat::kFp8Block);
  EXPECT_EQ(formats.kv_a, WeightFormat::kFp8Block);
  EXPECT_EQ(formats.o, WeightFormat::kFp8Block);
  EXPECT_EQ(formats.indexer, WeightFormat::kFp8Block);
  EXPECT_EQ(spec.layers[3].mlp_formats.experts, WeightFormat::kFp8Block) << "gate is not gate_proj";
}

TEST(QuantisationTest, ModulesAreMatchedPerLayerAndAsWholeNames) {
  const auto spec =
      read(fp8_without({"model.layers.1.self_attn.o_proj", "model.layers.2.self_attn"}));
  EXPECT_EQ(spec.layers[1].formats.o, WeightFormat::kBf16);
  EXPECT_EQ(spec.layers[1].formats.q_b, WeightFormat::kFp8Block);
  EXPECT_EQ(spec.layers[2].formats.q_b, WeightFormat::kBf16) << "what lies in a named module";
  EXPECT_EQ(spec.layers[10].formats.o, WeightFormat::kFp8Block) << "1 is not 10";
  EXPECT_EQ(spec.layers[11].formats.o, WeightFormat::kFp8Block);
}

TEST(QuantisationTest, PatternsAndExpressionsAreFollowed) {
  const auto globs = read(fp8_without({"model.layers.*.self_attn.q_a_proj", "model.layers.1*"}));
  EXPECT_EQ(globs.layers[0].formats.q_a, WeightFormat::kBf16);
  EXPECT_EQ(globs.layers[0].formats.q_b, WeightFormat::kFp8Block);
  EXPECT_EQ(globs.layers[1].formats.q_b, WeightFormat::kBf16);
  EXPECT_EQ(globs.layers[10].formats.q_b, WeightFormat::kBf16) << "layers.1* is 1, 10 and 11";
  EXPECT_EQ(globs.layers[2].formats.q_b, WeightFormat::kFp8Block);

  const auto expressions = read(fp8_without({"re:.*self_attn.*", "re:.*shared_experts.*"}));
  EXPECT_EQ(expressions.layers[5].formats.o, WeightFormat::kBf16);
  EXPECT_EQ(expressions.layers[5].mlp_formats.shared, WeightFormat::kBf16);
  EXPECT_EQ(expressions.layers[5].mlp_formats.experts, WeightFormat::kFp8Block);
}

TEST(QuantisationTest, AnExpressionThatCannotBeReadIsAWarning) {
  const auto spec = read(fp8_without({"re:.*(", "re:(?=.*self_attn).*"}));
  EXPECT_EQ(spec.warnings.size(), 2U);
  EXPECT_THAT(spec.warnings[0], HasSubstr("cannot be read"));
}

TEST(QuantisationTest, TheQuantFileSpeaksWhereTheConfigIsSilent) {
  const json file = {{"quantization",
                      {{"quant_algo", "NVFP4"},
                       {"kv_cache_quant_algo", "FP8"},
                       {"exclude_modules", {"model.layers.0.*", "*self_attn.kv_b_proj"}}}}};
  const auto spec = read(nullptr, file);
  EXPECT_EQ(spec.kv_format, KvFormat::kFp8);
  EXPECT_EQ(spec.layers[0].mlp_formats.experts, WeightFormat::kBf16);
  EXPECT_EQ(spec.layers[1].mlp_formats.experts, WeightFormat::kNvfp4);
  EXPECT_EQ(spec.layers[1].formats.kv_b, WeightFormat::kBf16);
  EXPECT_EQ(spec.layers[1].formats.o, WeightFormat::kNvfp4);
}

TEST(QuantisationTest, MixedPrecisionLeavesTheRestToTheConfig) {
  const json file = {{"quantization",
                      {{"quant_algo", "MIXED_PRECISION"},
                       {"quantized_layers",
                        {{"model.layers.4.mlp.experts", {{"quant_algo", "NVFP4"}}},
                         {"model.layers.5.mlp.experts", {{"quant_algo", "MXFP8"}}}}},
                       {"exclude_modules", {"*.self_attn.*"}}}}};
  const auto spec = read(fp8_without(json::array()), file);
  EXPECT_EQ(spec.layers[4].mlp_formats.experts, WeightFormat::kNvfp4);
  EXPECT_EQ(spec.layers[5].mlp_formats.experts, WeightFormat::kMxfp8);
  EXPECT_EQ(spec.layers[6].mlp_formats.experts, WeightFormat::kFp8Block);
  EXPECT_EQ(spec.layers[4].formats.o, WeightFormat::kFp8Block);
}

TEST(QuantisationTest, CompressedTensorsNameTheirTargets) {
  const json groups = {
      {"quant_method", "compressed-tensors"},
      {"config_groups",
       {{"group_0",
         {{"targets", {"re:.*mlp\\.experts\\..*"}},
          {"weights", {{"num_bits", 4}, {"type", "float"}, {"group_size", 16}}}}},
        {"group_1",
         {{"targets", {"Linear"}},
          {"weights", {{"num_bits", 8}, {"type", "float"}, {"strategy", "block"}}}}}}},
      {"ignore", {"re:.*kv_b_proj"}}};
  const auto spec = read(groups);
  EXPECT_EQ(spec.layers[0].mlp_formats.experts, WeightFormat::kNvfp4);
  EXPECT_EQ(spec.layers[0].formats.o, WeightFormat::kFp8Block);
  EXPECT_EQ(spec.layers[0].formats.kv_b, WeightFormat::kBf16);
}

TEST(QuantisationTest, AnUnknownMethodIsAWarning) {
  const auto spec = read({{"quant_method", "ultra2bit"}});
  ASSERT_EQ(spec.warnings.size(), 1U);
  EXPECT_THAT(spec.warnings[0], HasSubstr("ultra2bit"));
}

TEST(QuantisationTest, ExpertsOfDeepSeekV4AreFp4UnderAnFp8Config) {
  const auto spec = load_model("deepseek-ai/DeepSeek-V4-Flash").value();
  EXPECT_EQ(spec.layers[5].mlp_formats.experts, WeightFormat::kMxfp4);
  EXPECT_EQ(spec.layers[5].formats.q_b, WeightFormat::kFp8Block);
  const auto nvfp4 = load_model("nvidia/DeepSeek-V4-Flash-NVFP4").value();
  EXPECT_EQ(nvfp4.layers[5].mlp_formats.experts, WeightFormat::kNvfp4);
  EXPECT_EQ(nvfp4.layers[5].formats.q_b, WeightFormat::kFp8Block);
}

}  // namespace
}  // namespace dsaperf::model
