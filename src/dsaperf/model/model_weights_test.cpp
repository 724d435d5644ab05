#include "dsaperf/model/model_weights.hpp"

#include "dsaperf/model/cache_bytes.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::model {
namespace {

using ::testing::HasSubstr;

TEST(ModelWeightsTest, CountsDeepSeekV3AsPublished) {
  const auto spec = load_model("deepseek-ai/DeepSeek-V3").value();
  const auto weights = total(model_weights(spec, {}), false);
  // 671 B and 37 B active in the model card; the sum of the checkpoint's shapes without MTP and
  // without the router's 58 * 256 correction biases.
  EXPECT_EQ(weights.parameters, 671'026'419'200 - 58 * 256);
  EXPECT_NEAR(static_cast<double>(weights.active_parameters), 37.5e9, 0.2e9);
}

TEST(ModelWeightsTest, RanksHoldTogetherWhatTheModelHasWhereEverythingIsSharded) {
  const auto spec = load_model("deepseek-ai/DeepSeek-V3.2").value();
  const auto weights = model_weights(spec, Parallel::of(8, 1, 8));
  for (const auto& part : weights.parts) {
    if (part.part == WeightPart::kRoutedExperts || part.part == WeightPart::kDenseMlp) {
      EXPECT_EQ(part.rank_bytes.value * 8, part.bytes.value) << name(part.part);
    }
    if (part.part == WeightPart::kIndexer) {
      EXPECT_EQ(part.rank_bytes, part.bytes) << "every rank holds the whole indexer";
    }
  }
}

TEST(ModelWeightsTest, StoresScalesOfBlocks) {
  EXPECT_EQ(matrix_bytes(256, 128, WeightFormat::kFp8Block).value, 256 * 128 + 2 * 4);
  EXPECT_EQ(matrix_bytes(2, 32, WeightFormat::kNvfp4).value, 32 + 4);
  EXPECT_EQ(matrix_bytes(2, 32, WeightFormat::kMxfp4).value, 32 + 2);
}

TEST(ModelWeightsTest, RefusesALayoutThatDoesNotDivide) {
  const auto spec = load_model("zai-org/GLM-5").value();
  EXPECT_THAT(check_parallel(spec, Parallel::of(3)).error().message(), HasSubstr("64"));
  EXPECT_THAT(check_parallel(spec, Parallel::of(8, 1, 3)).error().message(), HasSubstr("ep 3"));
  EXPECT_TRUE(check_parallel(spec, Parallel::of(8, 2, 4)).has_value());
}

TEST(CacheBytesTest, AreThoseOfTheRows) {
  const auto spec = load_model("deepseek-ai/DeepSeek-V3.2").value();
  const auto bf16 = layer_cache(spec.layers[0], KvFormat::kBf16);
  EXPECT_EQ(bf16.kv_row.value, 1152);
  EXPECT_EQ(bf16.index_row.value, 132);
  EXPECT_EQ(layer_cache(spec.layers[0], KvFormat::kFp8).kv_row.value, 656);
  EXPECT_EQ(model_cache(spec, KvFormat::kBf16, false).kv_bytes_per_token, 61 * 1152);
  EXPECT_EQ(model_cache(spec, KvFormat::kBf16, true).kv_bytes_per_token, 62 * 1152);
}

TEST(CacheBytesTest, CompressedRowsStandForSeveralTokens) {
  const auto spec = load_model("deepseek-ai/DeepSeek-V4-Flash").value();
  const auto cache = layer_cache(spec.layers[2], KvFormat::kFp8);  // CSA 4
  EXPECT_EQ(cache.kv_row.value, 584);
  EXPECT_EQ(cache.tokens_per_kv_row, 4);
  EXPECT_EQ(cache.index_bytes_per_token(), 132.0 / 4);
  EXPECT_EQ(cache.request_bytes(1000).value, 250 * (584 + 132) + 128 * 584);
  EXPECT_EQ(layer_cache(spec.layers[0], KvFormat::kBf16).request_bytes(1000).value, 128 * 1024);
}

TEST(CacheBytesTest, LayersThatShareASelectionKeepNoIndexKeys) {
  const auto spec = load_model("zai-org/GLM-5.2-FP8").value();
  EXPECT_EQ(model_cache(spec, KvFormat::kFp8, false).index_bytes_per_token, 21 * 132);
  EXPECT_EQ(model_cache(spec, KvFormat::kFp8, true).index_bytes_per_token, 22 * 132);
}

}  // namespace
}  // namespace dsaperf::model
