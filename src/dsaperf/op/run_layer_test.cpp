#include "dsaperf/op/run_layer.hpp"

#include "dsaperf/op/compare_kv.hpp"
#include "dsaperf/op/safetensors.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace dsaperf::op {
namespace {

using testing::small_spec;

TEST(RunLayerTest, TimesEveryStageAndChecksIt) {
  const LayerSpec spec = small_spec();
  const auto backend = cpu_backend(2);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto run = run_layer(
      *backend, spec, weights,
      {.batch = 2, .new_tokens = 3, .past = 70, .check_tokens = 4, .threads = 1, .seconds = 0.01});
  ASSERT_TRUE(run) << run.error().message();
  EXPECT_EQ(run->stages.size(), 13U);
  EXPECT_FALSE(run->stages[0].cold_us.empty());
  EXPECT_TRUE(run->check->passed);
  EXPECT_EQ(run->check->tokens.size(), 4U);
}

TEST(RunLayerTest, AMillionPastTokensAgreeWithTheReferenceWithinTheScoreBudget) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "minutes under AddressSanitizer; shorter contexts take the same paths";
#endif
  LayerSpec spec = small_spec();
  spec.topk = 2048;
  const auto backend = cpu_backend(2);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto run = run_layer(*backend, spec, weights,
                             {.past = 1 << 20,
                              .kv = kernels::KvRows::Format::kFp8,
                              .check_tokens = 1,
                              .threads = 2,
                              .seconds = 0,
                              .score_bytes = 5 << 20});
  ASSERT_TRUE(run) << run.error().message();
  for (const auto& stage : run->check->stages)
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": " << stage.detail;
  EXPECT_FALSE(run->dense);
  EXPECT_LT(run->activations.value, 6 << 20) << "nothing but scores grows with the context";
}

TEST(RunLayerTest, ASharedLayerRunsOnARandomSelection) {
  LayerSpec spec = small_spec();
  spec.has_indexer = false;
  const auto backend = cpu_backend(2);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto run =
      run_layer(*backend, spec, weights,
                {.new_tokens = 2, .past = 100, .check_tokens = 2, .threads = 1, .seconds = 0});
  ASSERT_TRUE(run) << run.error().message();
  EXPECT_EQ(run->stages.size(), 8U);
  EXPECT_TRUE(run->check->passed);
}

TEST(RunLayerTest, DumpsEveryTensor) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "run_layer_dump.safetensors";
  const LayerSpec spec = small_spec();
  const auto backend = cpu_backend(1);
  ASSERT_TRUE(run_layer(*backend, spec, random_weights(spec, 1, ScoreDistribution::kNormal),
                        {.past = 70, .seconds = 0}, path));
  auto file = SafetensorsFile::open(path).value();
  for (const char* name : {"x", "y", "selection", "query", "lse"})
    EXPECT_TRUE(file.has(name)) << name;
  EXPECT_THAT(file.read("y")->shape, ::testing::ElementsAre(1, spec.hidden));
  std::filesystem::remove(path);
}

TEST(RunLayerTest, RefusesSizesThatMakeNoSense) {
  const LayerSpec spec = small_spec();
  const auto backend = cpu_backend(1);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  for (const RunOptions& options :
       {RunOptions{.batch = 0}, RunOptions{.new_tokens = 0}, RunOptions{.past = -1}})
    EXPECT_EQ(run_layer(*backend, spec, weights, options).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(
      run_layer(*backend, spec, weights, {.batch = 1 << 20, .new_tokens = 1 << 20}).error().code(),
      Errc::kOutOfMemory);
}

TEST(CompareKvTest, Bf16CacheCostsNothingAndFp8Little) {
  const LayerSpec spec = small_spec();
  const auto backend = cpu_backend(2);
  const std::vector distributions = {ScoreDistribution::kNormal, ScoreDistribution::kTied};
  const std::vector formats = {kernels::KvRows::Format::kBf16, kernels::KvRows::Format::kFp8};
  const auto compared =
      compare_kv(*backend, spec, {.new_tokens = 3, .past = 300}, distributions, formats).value();
  ASSERT_EQ(compared.size(), 4U);
  EXPECT_EQ(compared[0].output_error_of_cache, 0);
  EXPECT_EQ(compared[0].output_error, compared[0].output_error_of_selection);
  // e4m3 rounds a value by 2^-5 of it on average or so; the output is a mean of such values.
  EXPECT_GT(compared[1].output_error_of_cache, 1e-3);
  EXPECT_LT(compared[1].output_error_of_cache, 0x1p-4);
  for (const auto& each : compared) {
    EXPECT_GT(each.selection_overlap, 0.8);
    EXPECT_LE(each.lowest_overlap, each.selection_overlap);
  }
}

TEST(CompareKvTest, NeedsAShapeThatSelects) {
  const auto backend = cpu_backend(1);
  const std::vector distributions = {ScoreDistribution::kNormal};
  const std::vector formats = {kernels::KvRows::Format::kBf16};
  EXPECT_EQ(compare_kv(*backend, small_spec(), {.past = 63}, distributions, formats).error().code(),
            Errc::kInvalidArgument);
}

}  // namespace
}  // namespace dsaperf::op
