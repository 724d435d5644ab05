#include "dsaperf/op/layer_timing.hpp"

#include "dsaperf/op/testing/small_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

namespace dsaperf::op {
namespace {

using testing::host;
using testing::small_spec;

class LayerTimerTest : public ::testing::Test {
 protected:
  Result<std::unique_ptr<LayerTimer>> timer(const LayerShape& shape, Launch launch = Launch::kGraph,
                                            int warmup = 1) {
    return LayerTimer::create(layer, weights, shape, launch, warmup);
  }

  LayerSpec spec = small_spec();
  std::unique_ptr<Backend> backend = cpu_backend(2);
  LayerWeights weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  DsaLayer layer = DsaLayer::create(*backend, spec, weights).value();
};

TEST_F(LayerTimerTest, TimesEveryStageOfARaggedBatch) {
  const auto timed = timer({.groups = {{.requests = 2, .new_tokens = 3, .past = 100},
                                       {.requests = 1, .new_tokens = 1, .past = 0}}})
                         .value();
  EXPECT_EQ(timed->pass().tokens, 7);
  EXPECT_EQ(timed->cache().pool().length(timed->pass().requests[1].request).value(), 103);
  for (const auto& stages : {timed->cold_stages().value(), timed->warm_stages().value()}) {
    EXPECT_EQ(stages.size(), timed->pass().stages.size());
    for (const Micros time : stages) EXPECT_GE(time.value, 0);
  }
  EXPECT_GT(timed->cold()->value, 0);
  EXPECT_GT(timed->warm(3)->value, 0);
  EXPECT_EQ(timed->warm(0).error().code(), Errc::kInvalidArgument);
}

TEST_F(LayerTimerTest, EveryWayOfRunningComputesTheSame) {
  const LayerShape shape{.groups = {{.requests = 3, .new_tokens = 2, .past = 90}},
                         .kv = kernels::KvRows::Format::kFp8};
  const auto eager = timer(shape, Launch::kEager, 0).value();
  ASSERT_TRUE(eager->run());
  const auto want = host<std::uint16_t>(*backend, eager->pass().at("y"));
  for (const Launch launch : {Launch::kEager, Launch::kGraph}) {
    const auto timed = timer(shape, launch).value();
    EXPECT_EQ(host<std::uint16_t>(*backend, timed->pass().at("y")), want) << "warm-up";
    ASSERT_TRUE(timed->cold());
    ASSERT_TRUE(timed->warm_stages());
    ASSERT_TRUE(timed->run());
    EXPECT_EQ(host<std::uint16_t>(*backend, timed->pass().at("y")), want);
  }
}

TEST_F(LayerTimerTest, SomeStagesAreTimedWithoutTheOthers) {
  using model::Stage;
  CacheManager cache =
      CacheManager::create(*backend, {.pages = 16, .kv = kernels::KvRows::Format::kFp8}).value();
  std::vector<BatchRequest> requests;
  for (const std::int64_t past : {90, 200}) {
    requests.push_back({.request = cache.add_request(), .new_tokens = 2});
    ASSERT_TRUE(fill_past(*backend, cache, spec, weights, requests.back().request, past, {}));
  }
  auto pass = layer.prepare(cache, requests, testing::random_x(spec, 4)).value();
  const auto timed = LayerTimer::over(layer, cache, std::move(pass), Launch::kGraph, 1,
                                      {Stage::kAttention, Stage::kQBProjection})
                         .value();
  const auto& stages = timed->pass().stages;
  for (const auto& times : {timed->cold_stages().value(), timed->warm_stages().value()}) {
    ASSERT_EQ(times.size(), stages.size());
    for (std::size_t i = 0; i < times.size(); ++i) {
      const bool asked = stages[i] == Stage::kAttention || stages[i] == Stage::kQBProjection;
      EXPECT_EQ(times[i].value > 0, asked) << model::name(stages[i]);
    }
  }
  EXPECT_GT(timed->cold()->value, 0);
  EXPECT_GT(timed->layer_bytes().value, timed->activation_bytes().value);

  // Only these two ran: what the others left is untouched, what these write is written anew.
  const auto bytes_of = [&](const char* name) {
    return host<std::uint16_t>(*backend, timed->pass().at(name));
  };
  const auto selection = host<std::int32_t>(*backend, timed->pass().at("selection"));
  const auto latent_out = bytes_of("latent_out");
  const auto& y = timed->pass().at("y");
  const std::vector<std::uint16_t> poison(y.elements(), 0x7fc0);
  for (const char* name : {"y", "latent_out"}) {
    ASSERT_TRUE(
        backend->upload(poison.data(), 2 * y.elements(), timed->pass().at(name).buffer.data()));
  }
  ASSERT_TRUE(timed->run());
  EXPECT_EQ(bytes_of("y"), poison);
  EXPECT_EQ(bytes_of("latent_out"), latent_out);
  EXPECT_EQ(host<std::int32_t>(*backend, timed->pass().at("selection")), selection);
}

TEST_F(LayerTimerTest, AStageThatThePassDoesNotHaveIsRefused) {
  CacheManager cache = CacheManager::create(*backend, {.pages = 4}).value();
  const BatchRequest request{.request = cache.add_request(), .new_tokens = 2};
  auto pass = layer.prepare(cache, {&request, 1}, testing::random_x(spec, 2)).value();
  const auto timed = LayerTimer::over(layer, cache, std::move(pass), Launch::kGraph, 1,
                                      {model::Stage::kTopk});  // two tokens select nothing
  ASSERT_FALSE(timed);
  EXPECT_THAT(timed.error().message(), ::testing::HasSubstr("does not run stage topk"));
}

TEST_F(LayerTimerTest, RunningAllocatesNothing) {
  const auto timed = timer({.groups = {{.requests = 2, .new_tokens = 40, .past = 100}}}).value();
  const auto before = backend->memory().allocations;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(timed->run());
    ASSERT_TRUE(timed->warm(2));
    ASSERT_TRUE(timed->warm_stages());
  }
  EXPECT_EQ(backend->memory().allocations, before);
}

TEST_F(LayerTimerTest, MemoryIsGivenBackAndThePeakRemembered) {
  const auto before = backend->memory().bytes;
  std::int64_t during = 0;
  {
    const auto timed = timer({.groups = {{.requests = 1, .new_tokens = 10, .past = 100}}}).value();
    during = backend->memory().bytes;
    EXPECT_EQ(during - before, timed->activation_bytes().value + timed->cache().bytes().value);
  }
  EXPECT_EQ(backend->memory().bytes, before);
  EXPECT_GE(backend->memory().peak, during);
}

TEST_F(LayerTimerTest, ASharedLayerGetsASelection) {
  spec.has_indexer = false;
  const auto shared = DsaLayer::create(*backend, spec, weights).value();
  const auto timed =
      LayerTimer::create(shared, weights, {.groups = {{.new_tokens = 2, .past = 100}}},
                         Launch::kGraph, 0)
          .value();
  EXPECT_EQ(timed->warm_stages()->size(), 8U);
}

TEST_F(LayerTimerTest, RefusesSizesThatMakeNoSense) {
  for (const LayerShape::Group& group : {LayerShape::Group{.requests = 0},
                                         {.new_tokens = 0},
                                         {.past = -1},
                                         {.past = std::int64_t{1} << 25}})
    EXPECT_EQ(timer({.groups = {group}}).error().code(), Errc::kInvalidArgument);
}

TEST(RandomSelectionTest, DrawsDistinctVisiblePositions) {
  const std::vector<std::int32_t> visible = {1, 63, 64, 65, 1000};
  const auto selection = random_selection(visible, 64, 3);
  for (std::size_t t = 0; t < visible.size(); ++t) {
    std::set<std::int32_t> chosen;
    for (int i = 0; i < 64; ++i) {
      const std::int32_t position = selection[t * 64 + i];
      if (position < 0) continue;
      EXPECT_LT(position, visible[t]);
      EXPECT_TRUE(chosen.insert(position).second);
    }
    EXPECT_EQ(static_cast<int>(chosen.size()), std::min(visible[t], 64));
  }
}

}  // namespace
}  // namespace dsaperf::op
