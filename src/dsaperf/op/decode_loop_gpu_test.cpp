// A pass that is captured once as a CUDA graph and replayed while its lengths change; what running
// and replaying allocates; memory at a million tokens.

#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/op/gpu_backend.hpp"
#include "dsaperf/op/layer_check.hpp"
#include "dsaperf/op/layer_timing.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <numeric>

namespace dsaperf::op {
namespace {

using testing::host;
using testing::random_x;
using testing::small_spec;

std::int64_t free_device_bytes() {
  std::size_t available = 0;
  std::size_t total = 0;
  EXPECT_EQ(cudaMemGetInfo(&available, &total), cudaSuccess);
  return static_cast<std::int64_t>(available);
}

struct Loop {
  const char* name;
  std::vector<std::int64_t> past;
  int q_len = 1;
  std::int64_t longest = 0;
  kernels::KvRows::Format kv = kernels::KvRows::Format::kFp8;
  Projections projections = Projections::kBf16;
  PassOptions::Bf16Rows rows = PassOptions::Bf16Rows::kWhereFaster;
};

class DecodeLoopGpuTest : public ::testing::TestWithParam<Loop> {
 protected:
  CacheManager cache_with(const std::vector<std::int64_t>& past) {
    auto cache = CacheManager::create(*backend, {.pages = 1024, .kv = GetParam().kv}).value();
    for (std::size_t r = 0; r < past.size(); ++r)
      EXPECT_TRUE(fill_past(*backend, cache, spec, weights, cache.add_request(), past[r],
                            {.seed = 3, .stream = r}));
    return cache;
  }

  LayerSpec spec = small_spec();
  LayerWeights weights;
  std::unique_ptr<Backend> backend;
};

TEST_P(DecodeLoopGpuTest, AGraphWhoseLengthsChangeAgreesWithEagerPassesAndTheReference) {
  DSAPERF_REQUIRE_GPU();
  const Loop& loop = GetParam();
  spec.heads = 16;
  spec.projections = loop.projections;
  weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  auto made = gpu_backend();
  ASSERT_TRUE(made) << made.error().message();
  backend = *std::move(made);
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  auto looped_cache = cache_with(loop.past);
  auto eager_cache = cache_with(loop.past);
  const auto count = static_cast<std::int64_t>(loop.past.size());
  const std::int64_t tokens = count * loop.q_len;
  std::vector<BatchRequest> batch;
  for (RequestId r = 0; r < count; ++r) batch.push_back({.request = r, .new_tokens = loop.q_len});

  auto looped = layer.prepare(looped_cache, batch, random_x(spec, tokens, 100), {},
                              {.longest = loop.longest, .bf16_rows = loop.rows});
  ASSERT_TRUE(looped) << looped.error().message();
  ASSERT_TRUE(layer.keep_scores(*looped, tokens_to_check(*looped, 8)));
  ASSERT_TRUE(layer.run(*looped, looped_cache));
  auto graph = backend->record([&] { return layer.enqueue(*looped, looped_cache); });
  ASSERT_TRUE(graph) << graph.error().message();
  ASSERT_TRUE((*graph)->replay());
  ASSERT_TRUE(backend->synchronise());

  constexpr int kSteps = 12;
  for (int step = 0; step < kSteps; ++step) {
    const auto x = random_x(spec, tokens, 100 + step);
    const auto allocations = backend->memory().allocations;
    const auto free_before = free_device_bytes();
    if (step > 0) {
      ASSERT_TRUE(layer.advance(*looped, looped_cache, x));
    }
    ASSERT_TRUE((*graph)->replay());
    ASSERT_TRUE(backend->synchronise());
    EXPECT_EQ(backend->memory().allocations, allocations);
    // A sanitizer takes memory beside the pass that it watches.
    if (std::getenv("DSAPERF_UNDER_SANITIZER") == nullptr) {
      EXPECT_EQ(free_device_bytes(), free_before);
    }

    // The same bits: a score depends on its row and key alone, top-k is exact and sorted, and the
    // other stages have the same shapes.
    auto eager = layer.prepare(eager_cache, batch, x, {}, {.bf16_rows = loop.rows}).value();
    ASSERT_FALSE(eager.dense) << "another order of rows: not the same bits";
    ASSERT_TRUE(layer.run(eager, eager_cache));
    // Places of bf16 rows follow from the longest context.
    const bool same_places = !looped->has("bf16_rows_scratch");
    for (const char* name : {"selection", same_places ? "selection_rows" : "selection"})
      ASSERT_EQ(host<std::int32_t>(*backend, looped->at(name)),
                host<std::int32_t>(*backend, eager.at(name)))
          << "step " << step << ": " << name;
    for (const char* name : {"query", "latent_out", "y"})
      ASSERT_EQ(host<std::uint16_t>(*backend, looped->at(name)),
                host<std::uint16_t>(*backend, eager.at(name)))
          << "step " << step << ": " << name;
  }
  ASSERT_TRUE(layer.fetch_scores(*looped));
  const auto check = check_layer(layer, weights, *looped, looped_cache, 0).value();
  for (const auto& stage : check.stages)
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": error " << stage.error << " of "
                              << stage.tolerance << ", " << stage.detail;
}

INSTANTIATE_TEST_SUITE_P(
    , DecodeLoopGpuTest,
    ::testing::Values(
        Loop{.name = "one_token", .past = {125, 300, 66}, .longest = 400},
        Loop{.name = "draft_tokens", .past = {125, 300, 66}, .q_len = 4, .longest = 400},
        Loop{.name = "bf16_rows",
             .past = {125, 300, 66},
             .longest = 400,
             .kv = kernels::KvRows::Format::kBf16},
        Loop{.name = "fp8_projections",
             .past = {125, 300, 66},
             .longest = 400,
             .projections = Projections::kFp8Block},
        Loop{.name = "many_requests", .past = std::vector<std::int64_t>(150, 70), .longest = 128},
        Loop{.name = "chunks", .past = {70, 200}, .q_len = 20, .longest = 512},
        Loop{.name = "chunks_over_bf16_rows",
             .past = {70, 200},
             .q_len = 20,
             .longest = 512,
             .rows = PassOptions::Bf16Rows::kWhereTheyFit}),
    [](const auto& tested) { return tested.param.name; });

TEST(LayerTimerGpuTest, GraphAndEagerPassesComputeTheSameAndAreTimed) {
  DSAPERF_REQUIRE_GPU();
  const auto spec = small_spec();
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto backend = gpu_backend().value();
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  std::vector<std::uint16_t> want;
  for (const Launch launch : {Launch::kEager, Launch::kGraph}) {
    auto timer = LayerTimer::create(layer, weights,
                                    {.groups = {{.requests = 3, .new_tokens = 2, .past = 300}},
                                     .kv = kernels::KvRows::Format::kFp8},
                                    launch, 2);
    ASSERT_TRUE(timer) << timer.error().message();
    ASSERT_TRUE((*timer)->cold());  // L2Flush takes its buffer now
    const auto allocations = backend->memory().allocations;
    const auto cold = (*timer)->cold().value();
    const auto warm = (*timer)->warm(10).value();
    const auto stages = (*timer)->warm_stages().value();
    ASSERT_TRUE((*timer)->cold_stages());
    EXPECT_EQ(backend->memory().allocations, allocations);
    EXPECT_GT(cold.value, 0);
    EXPECT_GT(warm.value, 0);
    Micros sum;
    for (const Micros stage : stages) sum += stage;
    EXPECT_GT(sum.value, 0);
    ASSERT_TRUE((*timer)->run());
    const auto y = host<std::uint16_t>(*backend, (*timer)->pass().at("y"));
    if (want.empty()) want = y;
    EXPECT_EQ(y, want);
  }
}

// Scores of a million keys are 4 MB a token: decode with draft tokens, and a chunk of a prefill
// whose scores do not fit the budget at once.
TEST(LayerMemoryGpuTest, AMillionTokensOfContextStayWithinTheScoreBudget) {
  DSAPERF_REQUIRE_GPU();
  constexpr std::int64_t kMillion = std::int64_t{1} << 20;
  constexpr std::int64_t kBudget = std::int64_t{64} << 20;
  LayerSpec spec = small_spec();
  spec.topk = 2048;
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  for (const std::int64_t new_tokens : {4, 200}) {
    const auto backend = gpu_backend().value();
    const auto layer = DsaLayer::create(*backend, spec, weights).value();
    const auto before = backend->memory().bytes;
    auto timer = LayerTimer::create(layer, weights,
                                    {.groups = {{.new_tokens = new_tokens, .past = kMillion}},
                                     .kv = kernels::KvRows::Format::kFp8,
                                     .pass = {.score_bytes = kBudget}},
                                    Launch::kGraph, 1);
    ASSERT_TRUE(timer) << timer.error().message();
    auto& pass = (*timer)->pass();
    EXPECT_LE(static_cast<std::int64_t>(pass.at("scores_scratch").buffer.bytes()), kBudget);
    // Beside caches and scores only the keys of a request as rows (prefill), its table, and what
    // grows with tokens; the chunk that past tokens were made in is given back but was at its peak.
    const std::int64_t keys = new_tokens > 8 ? 132 * (kMillion + new_tokens) : 0;
    const std::int64_t rest = std::int64_t{48} << 20;
    EXPECT_LE(backend->memory().peak - before,
              (*timer)->cache().bytes().value + kBudget + keys + rest);
    ASSERT_TRUE((*timer)->run());
    const auto selection = host<std::int32_t>(*backend, pass.at("selection"));
    for (std::int64_t t = 0; t < new_tokens; ++t)
      ASSERT_EQ(testing::selected(selection, pass.selected, t).size(), 2048U) << t;
  }
}

// Against the double reference, first and last token of a decode step.
TEST(LayerMemoryGpuTest, AMillionTokensOfContextAgreeWithTheReference) {
  DSAPERF_REQUIRE_GPU();
  LayerSpec spec = small_spec();
  spec.topk = 2048;
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto backend = gpu_backend().value();
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  auto timer = LayerTimer::create(layer, weights,
                                  {.groups = {{.new_tokens = 2, .past = std::int64_t{1} << 20}},
                                   .kv = kernels::KvRows::Format::kFp8},
                                  Launch::kEager, 1)
                   .value();
  ASSERT_TRUE(layer.keep_scores(timer->pass(), std::vector<std::int64_t>{0, 1}));
  ASSERT_TRUE(timer->run());
  const auto check = check_layer(layer, weights, timer->pass(), timer->cache(), 0).value();
  for (const auto& stage : check.stages)
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": " << stage.detail;
}

}  // namespace
}  // namespace dsaperf::op
