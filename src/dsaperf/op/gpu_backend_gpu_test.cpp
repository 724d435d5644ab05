#include "dsaperf/op/gpu_backend.hpp"

#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/op/run_layer.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gtest/gtest.h>

namespace dsaperf::op {
namespace {

struct Case {
  const char* name;
  RunOptions run;
  int heads = 16;
  bool has_indexer = true;
  Projections projections = Projections::kBf16;
};

// The layer on the GPU, stage by stage against the double reference on the stage's own inputs:
// prefill from nothing, a chunk behind a past, decode with one and several tokens, both caches,
// dense and sparse.
class GpuLayerTest : public ::testing::TestWithParam<Case> {};

TEST_P(GpuLayerTest, EveryStageAgreesWithTheReference) {
  DSAPERF_REQUIRE_GPU();
  auto spec = testing::small_spec();
  spec.heads = GetParam().heads;
  spec.has_indexer = GetParam().has_indexer;
  spec.projections = GetParam().projections;
  auto backend = gpu_backend();
  ASSERT_TRUE(backend) << backend.error().message();
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  auto options = GetParam().run;
  options.check_tokens = 8;
  options.seconds = 0;
  const auto run = run_layer(**backend, spec, weights, options);
  ASSERT_TRUE(run) << run.error().message();
  for (const auto& stage : run->check->stages) {
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": error " << stage.error << " of "
                              << stage.tolerance << ", " << stage.detail;
  }
}

constexpr auto kFp8 = kernels::KvRows::Format::kFp8;

INSTANTIATE_TEST_SUITE_P(
    Shapes, GpuLayerTest,
    ::testing::Values(
        Case{"prefill", {.new_tokens = 200}},
        Case{"prefill_fp8", {.batch = 3, .new_tokens = 70, .kv = kFp8}},
        Case{"prompts_over_bf16_rows", {.batch = 2, .new_tokens = 400, .past = 130, .kv = kFp8}},
        Case{"dense_over_bf16_rows", {.batch = 40, .new_tokens = 60, .kv = kFp8}},
        Case{"chunk", {.batch = 2, .new_tokens = 100, .past = 130}},
        Case{"dense", {.batch = 2, .new_tokens = 30}},
        Case{"decode", {.batch = 5, .new_tokens = 1, .past = 300}},
        Case{"decode_fp8", {.batch = 5, .new_tokens = 1, .past = 300, .kv = kFp8}},
        Case{"draft", {.batch = 3, .new_tokens = 4, .past = 190, .kv = kFp8}},
        Case{"heads_8", {.batch = 2, .new_tokens = 9, .past = 100}, 8},
        Case{"heads_128", {.batch = 2, .new_tokens = 9, .past = 100, .kv = kFp8}, 128},
        Case{"batch_1024", {.batch = 1024, .new_tokens = 1, .past = 70, .kv = kFp8}},
        Case{"shared", {.batch = 2, .new_tokens = 9, .past = 100}, 16, false},
        Case{"fp8_projections",
             {.batch = 2, .new_tokens = 40, .past = 100, .kv = kFp8},
             16,
             true,
             Projections::kFp8Block}),
    [](const auto& tested) { return std::string(tested.param.name); });

// A chunk, a request with nothing new, and a prefill from nothing in one batch; run twice, every
// bit the same.
void expect_ragged_batch_agrees(const PassOptions& options, std::size_t parts) {
  auto spec = testing::small_spec();
  spec.heads = 16;
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto backend = gpu_backend().value();
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  auto cache = CacheManager::create(*backend, {.pages = 32, .kv = kFp8}).value();
  std::vector<BatchRequest> batch;
  for (const auto& [past, added] : {std::pair{150, 5}, {20, 0}, {0, 80}, {500, 3}}) {
    batch.push_back({.request = cache.add_request(), .new_tokens = added});
    ASSERT_TRUE(fill_past(*backend, cache, spec, weights, batch.back().request, past,
                          {.seed = 3, .stream = batch.size()}));
  }
  auto pass = layer.prepare(cache, batch, testing::random_x(spec, 88), {}, options).value();
  ASSERT_EQ(pass.attention_parts.size(), parts);
  ASSERT_TRUE(layer.keep_scores(pass, tokens_to_check(pass, 12)));
  ASSERT_TRUE(layer.run(pass, cache));
  const auto first = testing::host<std::uint16_t>(*backend, pass.at("y"));
  const auto check = check_layer(layer, weights, pass, cache, 0).value();
  for (const auto& stage : check.stages) {
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": " << stage.detail;
  }
  ASSERT_TRUE(layer.run(pass, cache));
  EXPECT_EQ(testing::host<std::uint16_t>(*backend, pass.at("y")), first);
}

TEST(GpuLayerBatchTest, RaggedBatchesWithAnEmptyRequestAgreeWithTheReference) {
  DSAPERF_REQUIRE_GPU();
  expect_ragged_batch_agrees({}, 1);
}

TEST(GpuLayerBatchTest, SoTheyDoOverBf16RowsOfOnePartAndOfSeveral) {
  DSAPERF_REQUIRE_GPU();
  constexpr auto kWhereTheyFit = PassOptions::Bf16Rows::kWhereTheyFit;
  expect_ragged_batch_agrees({.bf16_rows = kWhereTheyFit}, 1);
  // Five pages hold the first three requests; the long past stays in the cache.
  expect_ragged_batch_agrees({.score_bytes = 5 * 64 * 1152, .bf16_rows = kWhereTheyFit}, 2);
}

}  // namespace
}  // namespace dsaperf::op
