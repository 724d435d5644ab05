#include "dsaperf/model/load_model.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <string>

namespace dsaperf::model {
namespace {

using ::testing::HasSubstr;

TEST(LoadModelTest, FindsABundledModelByNameAndByItsLastPart) {
  const auto whole = load_model("deepseek-ai/DeepSeek-V3.2");
  ASSERT_TRUE(whole.has_value()) << whole.error().message();
  EXPECT_EQ(whole->name, "deepseek-ai/DeepSeek-V3.2");
  EXPECT_EQ(load_model("deepseek-v3.2").value().name, whole->name);
}

TEST(LoadModelTest, OffersNearNamesForAnUnknownOne) {
  EXPECT_THAT(load_model("deepseek-ai/DeepSeek-V3.3").error().message(),
              HasSubstr("deepseek-ai/DeepSeek-V3.2"));
}

TEST(LoadModelTest, GivesTheSizesThatOtherModulesCountOn) {
  const auto spec = load_model("deepseek-ai/DeepSeek-V3.2").value();
  EXPECT_EQ(spec.main_layers, 61);
  EXPECT_EQ(spec.mtp_layers, 1);
  ASSERT_EQ(spec.layers.size(), 62U);
  const auto& layer = typical_layer(spec);
  EXPECT_EQ(layer.attention, AttentionKind::kDsa);
  EXPECT_EQ(layer.geometry.heads, 128);
  EXPECT_EQ(layer.geometry.kv_lora, 512);
  EXPECT_EQ(layer.indexer->heads, 64);
  EXPECT_EQ(layer.indexer->topk, 2048);
  EXPECT_EQ(layer.indexer->rope_pairing, RopePairing::kHalfSplit);
  // (128 + 64)^-0.5 * m^2, m = 0.1 * ln(40) + 1
  const double m = 0.1 * std::log(40.0) + 1;
  EXPECT_DOUBLE_EQ(layer.geometry.softmax_scale, m * m / std::sqrt(192.0));
  EXPECT_EQ(layer.formats.q_a, WeightFormat::kFp8Block);
  EXPECT_EQ(spec.layers[2].mlp, MlpKind::kDense);
  EXPECT_EQ(spec.layers[3].mlp, MlpKind::kMoe);
  EXPECT_EQ(spec.moe.shared_intermediate, 2048);
}

TEST(LoadModelTest, SharesSelectionsAsGlm52Does) {
  const auto spec = load_model("zai-org/GLM-5.2-FP8").value();
  int full = 0;
  for (const auto* layer : main_attention_layers(spec)) {
    full += layer->indexer_role == IndexerRole::kFull ? 1 : 0;
  }
  EXPECT_EQ(full, 21);
  EXPECT_EQ(spec.layers[3].indexer_role, IndexerRole::kShared);
  EXPECT_EQ(spec.layers[78].indexer_role, IndexerRole::kFull) << "the MTP layer has its own";
  EXPECT_EQ(typical_layer(spec).indexer->rope_pairing, RopePairing::kInterleaved);
}

TEST(LoadModelTest, ReadsHfQuantConfigBesideTheConfig) {
  const auto path = testing::fixture("configs/nvidia--GLM-5-NVFP4_config.json");
  if (!path) GTEST_SKIP() << testing::kNoFixtures;
  const auto spec = load_model(path->native());
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_EQ(spec->kv_format, KvFormat::kFp8);
  EXPECT_EQ(spec->layers[5].mlp_formats.experts, WeightFormat::kNvfp4);
  EXPECT_EQ(spec->layers[5].formats.q_a, WeightFormat::kBf16);
}

TEST(LoadModelTest, NamesAModelInUtf8WhateverItsFileIsCalled) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "zai--m\xFFn_config.json";
  std::filesystem::copy_file(data_dir().value() / "configs/zai-org--GLM-5.json", path,
                             std::filesystem::copy_options::overwrite_existing);
  EXPECT_EQ(load_model(path.native()).value().name, "zai/m\uFFFDn");
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace dsaperf::model
