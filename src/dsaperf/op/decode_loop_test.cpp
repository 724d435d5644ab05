// Decoding with one pass whose lengths change, as a recording replays it, against passes that are
// prepared anew for each step.

#include "dsaperf/op/testing/small_layer.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <numeric>

namespace dsaperf::op {
namespace {

using testing::host;
using testing::random_x;
using testing::small_spec;

constexpr int kRequests = 3;

class DecodeLoopTest : public ::testing::Test {
 protected:
  CacheManager cache_with(const std::vector<std::int64_t>& past, std::int64_t pages = 64) {
    auto cache = CacheManager::create(*backend, {.pages = pages,
                                                 .kv = kernels::KvRows::Format::kFp8,
                                                 .index_keys = spec.has_indexer})
                     .value();
    for (std::size_t r = 0; r < past.size(); ++r)
      EXPECT_TRUE(fill_past(*backend, cache, spec, weights, cache.add_request(), past[r],
                            {.seed = 3, .stream = r}));
    return cache;
  }
  std::vector<BatchRequest> batch(std::int64_t new_tokens) const {
    std::vector<BatchRequest> requests;
    for (RequestId r = 0; r < kRequests; ++r)
      requests.push_back({.request = r, .new_tokens = new_tokens});
    return requests;
  }
  std::set<std::int32_t> selected(const ForwardPass& pass, std::int64_t token) const {
    return testing::selected(host<std::int32_t>(*backend, pass.at("selection")), pass.selected,
                             token);
  }

  // Steps of a recorded pass and of fresh ones over equal caches: equal selections, outputs and
  // cache bytes. The reference computes each value in double whatever the batch looks like, so
  // outputs are equal in every bit; where one runs dense and the other sparse, rows come in another
  // order and a rounding may flip.
  void expect_steps_agree(const std::vector<std::int64_t>& past, int q_len, std::int64_t longest,
                          int steps, bool same_regime = true,
                          PassOptions::Bf16Rows rows = PassOptions::Bf16Rows::kNever) {
    auto looped_cache = cache_with(past);
    auto fresh_cache = cache_with(past);
    const std::int64_t tokens = std::int64_t{kRequests} * q_len;
    auto looped = layer
                      ->prepare(looped_cache, batch(q_len), random_x(spec, tokens, 100), {},
                                {.longest = longest, .bf16_rows = rows})
                      .value();
    EXPECT_EQ(looped.has("bf16_rows_scratch"), rows != PassOptions::Bf16Rows::kNever);
    const auto recording =
        backend->record([&] { return layer->enqueue(looped, looped_cache); }).value();
    for (int step = 0; step < steps; ++step) {
      const auto x = random_x(spec, tokens, 100 + step);
      const auto allocations = backend->memory().allocations;
      if (step > 0) {
        ASSERT_TRUE(layer->advance(looped, looped_cache, x));
      }
      ASSERT_TRUE(recording->replay());
      EXPECT_EQ(backend->memory().allocations, allocations);

      auto fresh = layer->prepare(fresh_cache, batch(q_len), x).value();
      ASSERT_TRUE(layer->run(fresh, fresh_cache));
      ASSERT_EQ(looped.slot, fresh.slot);
      for (std::int64_t t = 0; t < tokens; ++t)
        ASSERT_EQ(selected(looped, t), selected(fresh, t)) << "step " << step << ", token " << t;
      const auto got = host<std::uint16_t>(*backend, looped.at("y"));
      const auto want = host<std::uint16_t>(*backend, fresh.at("y"));
      if (same_regime) {
        ASSERT_EQ(got, want) << "step " << step;
      } else {
        for (std::size_t i = 0; i < got.size(); ++i)
          ASSERT_NEAR(kernels::bf16_to_float(got[i]), kernels::bf16_to_float(want[i]), 0x1p-7)
              << "step " << step;
      }
    }
    EXPECT_EQ(looped_cache.pool().length(0).value(), past[0] + steps * q_len);
  }

  LayerSpec spec = small_spec();
  std::unique_ptr<Backend> backend = reference_backend();
  LayerWeights weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  std::unique_ptr<DsaLayer> layer =
      std::make_unique<DsaLayer>(DsaLayer::create(*backend, spec, weights).value());
};

TEST_F(DecodeLoopTest, LengthsChangeUnderOneRecording) {
  // Over the page boundary at 128 for the first, past the third's first page.
  expect_steps_agree({125, 300, 66}, 1, 320, 6);
}

TEST_F(DecodeLoopTest, SoDoDraftTokens) {
  expect_steps_agree({125, 300, 66}, 4, 320, 4);
}

TEST_F(DecodeLoopTest, ABatchStartsBelowTopkAndEndsAboveIt) {
  // Planned for 200 tokens it selects from the start; fresh passes run dense up to 64.
  expect_steps_agree({60, 61, 3}, 1, 200, 8, false);
}

TEST_F(DecodeLoopTest, ABatchThatStaysBelowTopkRunsDense) {
  expect_steps_agree({5, 60, 0}, 1, 64, 4);
}

TEST_F(DecodeLoopTest, ChunksOfAPrefillToo) {
  expect_steps_agree({0, 100, 17}, 20, 200, 4);
}

TEST_F(DecodeLoopTest, ChunksWhoseFp8RowsBecomeBf16Too) {
  expect_steps_agree({0, 100, 17}, 20, 200, 4, true, PassOptions::Bf16Rows::kWhereTheyFit);
}

TEST_F(DecodeLoopTest, ASharedLayerTakesAnotherSelectionEachStep) {
  spec.has_indexer = false;
  layer = std::make_unique<DsaLayer>(DsaLayer::create(*backend, spec, weights).value());
  auto cache = cache_with({100, 200, 70});
  std::vector<std::int32_t> selection(std::int64_t{kRequests} * spec.topk);
  for (std::size_t i = 0; i < selection.size(); ++i)
    selection[i] = static_cast<std::int32_t>(i % spec.topk);
  auto pass =
      layer->prepare(cache, batch(1), random_x(spec, kRequests, 1), selection, {.longest = 256})
          .value();
  ASSERT_TRUE(layer->run(pass, cache));
  const auto before = host<std::int32_t>(*backend, pass.at("selection_rows"));
  for (auto& position : selection) position += 6;
  ASSERT_TRUE(layer->advance(pass, cache, {}, selection));
  ASSERT_TRUE(layer->run(pass, cache));
  const auto after = host<std::int32_t>(*backend, pass.at("selection_rows"));
  EXPECT_EQ(after[0], before[6]);
  selection.pop_back();
  EXPECT_EQ(layer->advance(pass, cache, {}, selection).error().code(), Errc::kInvalidArgument);
}

TEST_F(DecodeLoopTest, AdvancingTooFarChangesNothing) {
  auto cache = cache_with({10, 20, 30});
  auto pass =
      layer->prepare(cache, batch(1), random_x(spec, kRequests), {}, {.longest = 32}).value();
  ASSERT_TRUE(layer->advance(pass, cache, {}));  // 12, 22, 32
  EXPECT_EQ(layer->advance(pass, cache, {}).error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(cache.pool().length(0).value(), 12);
  EXPECT_EQ(pass.visible[0], 12);
  EXPECT_EQ(layer->advance(pass, cache, std::vector<std::uint16_t>(5)).error().code(),
            Errc::kInvalidArgument)
      << "x of another size";

  auto fixed = layer->prepare(cache, batch(1), random_x(spec, kRequests)).value();
  EXPECT_EQ(layer->advance(fixed, cache, {}).error().code(), Errc::kInvalidArgument)
      << "not planned for other lengths";
  EXPECT_EQ(layer->prepare(cache, batch(1), random_x(spec, kRequests), {}, {.longest = 32})
                .error()
                .code(),
            Errc::kInvalidArgument)
      << "longer than planned at once";
}

TEST_F(DecodeLoopTest, AdvancingWithoutPagesChangesNothing) {
  auto cache = cache_with({63, 62, 10}, 4);
  auto pass =
      layer->prepare(cache, batch(1), random_x(spec, kRequests), {}, {.longest = 80}).value();
  ASSERT_TRUE(layer->advance(pass, cache, {}));  // the first takes the fourth page
  EXPECT_EQ(layer->advance(pass, cache, {}).error().code(), Errc::kOutOfMemory);
  EXPECT_EQ(cache.pool().length(0).value(), 65);
  EXPECT_EQ(pass.visible[0], 65);
}

TEST_F(DecodeLoopTest, ScoresStayWithinTheirBudgetWithoutChangingTheResult) {
  for (const std::int64_t q_len : {1, 30}) {
    std::vector<std::uint16_t> want;
    for (const std::int64_t budget : {std::int64_t{1} << 28, std::int64_t{4} * 7 * 336}) {
      auto cache = cache_with({200, 300, 5});
      auto pass = layer
                      ->prepare(cache, batch(q_len), random_x(spec, kRequests * q_len), {},
                                {.score_bytes = budget})
                      .value();
      EXPECT_LE(static_cast<std::int64_t>(pass.at("scores_scratch").buffer.bytes()), budget);
      ASSERT_TRUE(layer->run(pass, cache));
      const auto y = host<std::uint16_t>(*backend, pass.at("y"));
      if (want.empty()) want = y;
      EXPECT_EQ(y, want);
    }
    auto cache = cache_with({200, 300, 5});
    EXPECT_EQ(layer
                  ->prepare(cache, batch(q_len), random_x(spec, kRequests * q_len), {},
                            {.score_bytes = 1000})
                  .error()
                  .code(),
              Errc::kInvalidArgument);
    EXPECT_EQ(cache.pool().length(0).value(), 200) << "refused before the cache changed";
  }
}

}  // namespace
}  // namespace dsaperf::op
