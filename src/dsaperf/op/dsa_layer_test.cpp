#include "dsaperf/op/dsa_layer.hpp"

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <numeric>

namespace dsaperf::op {
namespace {

using kernels::bf16_to_float;
using ::testing::Contains;
using testing::host;
using ::testing::Not;
using testing::random_x;
using testing::selected;
using testing::small_spec;

struct Case {
  std::vector<std::int64_t> past, added;
  kernels::KvRows::Format kv = kernels::KvRows::Format::kBf16;
  ScoreDistribution scores = ScoreDistribution::kNormal;
  PassOptions pass = {};
};

// A layer, its cache with past tokens, and one pass through it.
struct LayerRun {
  LayerRun(std::unique_ptr<Backend> where, const LayerSpec& spec, const Case& c,
           std::span<const std::int32_t> selection = {})
      : backend(std::move(where)), weights(random_weights(spec, 1, c.scores)) {
    layer = std::make_unique<DsaLayer>(DsaLayer::create(*backend, spec, weights).value());
    cache = std::make_unique<CacheManager>(
        CacheManager::create(*backend, {.pages = 256, .kv = c.kv, .index_keys = spec.has_indexer})
            .value());
    std::vector<BatchRequest> batch;
    std::int64_t tokens = 0;
    for (std::size_t r = 0; r < c.past.size(); ++r) {
      batch.push_back({.request = cache->add_request(), .new_tokens = c.added[r]});
      EXPECT_TRUE(fill_past(*backend, *cache, spec, weights, batch.back().request, c.past[r],
                            {.seed = 3, .stream = r}));
      tokens += c.added[r];
    }
    const auto x = random_x(spec, tokens);
    pass =
        std::make_unique<ForwardPass>(layer->prepare(*cache, batch, x, selection, c.pass).value());
    std::vector<std::int64_t> all(tokens);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_TRUE(layer->keep_scores(*pass, all));
    const auto done = layer->run(*pass, *cache);
    EXPECT_TRUE(done) << (done ? "" : done.error().message());
  }

  std::vector<double> values(std::string_view name) const {
    std::vector<double> result;
    for (const auto bits : host<std::uint16_t>(*backend, pass->at(name)))
      result.push_back(bf16_to_float(bits));
    return result;
  }
  std::vector<std::int32_t> selection() const {
    return host<std::int32_t>(*backend, pass->at("selection"));
  }

  std::unique_ptr<Backend> backend;
  LayerWeights weights;
  std::unique_ptr<DsaLayer> layer;
  std::unique_ptr<CacheManager> cache;
  std::unique_ptr<ForwardPass> pass;
};

// Root mean square of the difference over that of the values.
double relative_error(const std::vector<double>& got, const std::vector<double>& want) {
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    difference += (got[i] - want[i]) * (got[i] - want[i]);
    size += want[i] * want[i];
  }
  return want.empty() ? 0 : std::sqrt(difference / size);
}

// Both paths round at the same places, so they differ where f32 sums fall on the other side of a
// rounding of bf16: rarely, and by 2^-8 of the value. Seven roundings follow each other to y, of
// which a tenth flips at most: sqrt(7 * 0.1) * 2^-8 = 0.003. A flipped e4m3 rounding of an index
// key may exchange single positions near the threshold, which shifts the token's output by a few
// per cent; the sets are compared by their scores.
constexpr double kOutputTolerance = 0.004;

void expect_paths_agree(const LayerSpec& spec, const Case& c) {
  const LayerRun fast(cpu_backend(3), spec, c);
  const LayerRun slow(reference_backend(), spec, c);
  EXPECT_LT(relative_error(fast.values("latent"), slow.values("latent")), 0x1p-8);
  EXPECT_LT(relative_error(fast.values("query"), slow.values("query")), 0x1p-8);
  const auto fast_selection = fast.selection();
  const auto slow_selection = slow.selection();
  bool same_sets = true;
  for (std::int64_t t = 0; t < fast.pass->tokens; ++t) {
    const auto a = selected(fast_selection, fast.pass->selected, t);
    const auto b = selected(slow_selection, slow.pass->selected, t);
    ASSERT_EQ(a.size(), b.size());
    ASSERT_EQ(static_cast<int>(a.size()), std::min(fast.pass->visible[t], spec.topk));
    if (a == b) continue;
    same_sets = false;
    const auto& scores = slow.pass->kept_scores.at(t);
    const float largest = *std::max_element(scores.begin(), scores.end());
    float threshold = largest;
    for (const auto position : b) threshold = std::min(threshold, scores[position]);
    for (const auto position : a)
      EXPECT_GE(scores[position], threshold - 0.02F * std::abs(largest)) << "token " << t;
  }
  EXPECT_LT(relative_error(fast.values("y"), slow.values("y")),
            same_sets ? kOutputTolerance : 0.05);
}

TEST(DsaLayerTest, FastPathAgreesWithTheReference) {
  for (const auto kv : {kernels::KvRows::Format::kBf16, kernels::KvRows::Format::kFp8}) {
    SCOPED_TRACE(static_cast<int>(kv));
    expect_paths_agree(small_spec(), {.past = {0}, .added = {100}, .kv = kv});         // prefill
    expect_paths_agree(small_spec(), {.past = {130}, .added = {70}, .kv = kv});        // chunk
    expect_paths_agree(small_spec(), {.past = {200, 90}, .added = {1, 1}, .kv = kv});  // decode
    expect_paths_agree(small_spec(), {.past = {150, 0, 3}, .added = {1, 80, 0}, .kv = kv});
  }
}

constexpr PassOptions kRowsAsBf16 = {.bf16_rows = PassOptions::Bf16Rows::kWhereTheyFit};

// The reference reads the cache: a row's values are powers of two times e4m3, so bf16 holds them.
TEST(DsaLayerTest, AttentionOverAnFp8CachesRowsAsBf16AgreesWithTheReference) {
  const auto reads_bf16 = [](Case c) {
    c.kv = kernels::KvRows::Format::kFp8;
    const LayerRun cache(reference_backend(2), small_spec(), c);
    c.pass = kRowsAsBf16;
    const LayerRun rows(reference_backend(2), small_spec(), c);
    EXPECT_TRUE(rows.pass->has("bf16_rows_scratch"));
    EXPECT_FALSE(cache.pass->has("bf16_rows_scratch"));
    EXPECT_EQ(rows.selection(), cache.selection());
    EXPECT_EQ(rows.values("latent_out"), cache.values("latent_out"));
    EXPECT_EQ(rows.values("y"), cache.values("y"));
  };
  reads_bf16({.past = {0}, .added = {100}});
  reads_bf16({.past = {130}, .added = {70}});
  reads_bf16({.past = {200, 90}, .added = {1, 1}});
  reads_bf16({.past = {150, 7, 0, 3}, .added = {1, 0, 80, 2}});
  reads_bf16({.past = {3, 0}, .added = {20, 40}});  // dense
}

TEST(DsaLayerTest, RowsAsBf16WorkOnlyWithinTheirBudgetAndForWhomTheyFit) {
  // 6 pages of bf16 rows: the first two requests together, the third by itself, the last not.
  const Case c = {
      .past = {150, 20, 250, 500},
      .added = {5, 80, 2, 3},
      .kv = kernels::KvRows::Format::kFp8,
      .pass = {.score_bytes = 6 * 64 * 1152, .bf16_rows = PassOptions::Bf16Rows::kWhereTheyFit}};
  const LayerRun run(cpu_backend(2), small_spec(), c);
  ASSERT_EQ(run.pass->attention_parts.size(), 3U);
  EXPECT_EQ(run.pass->attention_parts[0].requests, 2U);
  EXPECT_EQ(run.pass->attention_parts[0].pages, 5);
  EXPECT_TRUE(run.pass->attention_parts[1].bf16_rows);
  EXPECT_EQ(run.pass->attention_parts[1].first_token, 85);
  EXPECT_FALSE(run.pass->attention_parts[2].bf16_rows);
  EXPECT_EQ(run.pass->at("bf16_rows_scratch").shape[0], 5 * 64);
  auto plain = c;
  plain.pass = {.score_bytes = c.pass.score_bytes, .bf16_rows = PassOptions::Bf16Rows::kNever};
  EXPECT_EQ(run.values("y"), LayerRun(cpu_backend(2), small_spec(), plain).values("y"));
}

TEST(DsaLayerTest, FastPathAgreesForEveryQLenOfDecode) {
  for (int q_len = 1; q_len <= 8; ++q_len) {
    SCOPED_TRACE(q_len);
    expect_paths_agree(small_spec(), {.past = {70, 128, 0}, .added = {q_len, q_len, q_len}});
  }
}

TEST(DsaLayerTest, FastPathAgreesForEveryHeadCountAndScoreDistribution) {
  for (const int heads : {8, 16, 32, 64, 128}) {
    LayerSpec spec = small_spec();
    spec.heads = heads;
    spec.index_heads = std::min(heads, 64);
    expect_paths_agree(spec, {.past = {80}, .added = {3}});
  }
  for (const auto scores : {ScoreDistribution::kFlat, ScoreDistribution::kTied})
    expect_paths_agree(small_spec(), {.past = {200}, .added = {4}, .scores = scores});
}

TEST(DsaLayerTest, FastPathAgreesWithFp8Projections) {
  LayerSpec spec = small_spec();
  spec.projections = Projections::kFp8Block;
  // Activations are rounded to 4 significant bits: a flip of one is 2^-4 of a value, 16 times
  // bf16's; of 96 of them in a sum some flip.
  const Case c = {.past = {20}, .added = {30}};
  const LayerRun fast(cpu_backend(2), spec, c);
  const LayerRun slow(reference_backend(), spec, c);
  EXPECT_LT(relative_error(fast.values("y"), slow.values("y")), 16 * kOutputTolerance);
  EXPECT_LT(relative_error(fast.values("qkv_a"), slow.values("qkv_a")), 0x1p-8)
      << "the first projection rounds the same input";
}

// The stacked projection against each matrix by itself. 48 rows of W_qa leave a gap of 80.
TEST(DsaLayerTest, TheFirstProjectionGivesWhatItsMatricesGiveOneByOne) {
  for (const auto projections : {Projections::kBf16, Projections::kFp8Block}) {
    for (const bool has_indexer : {true, false}) {
      LayerSpec spec = small_spec();
      spec.projections = projections;
      spec.has_indexer = has_indexer;
      const LayerRun run(reference_backend(), spec, {.past = {2}, .added = {5}});
      const auto x = random_x(spec, 5);
      std::vector<std::uint8_t> codes(x.size());
      std::vector<float> scales(5);
      ASSERT_TRUE(kernels::quantise_groups_reference({.x = x.data(),
                                                      .values = codes.data(),
                                                      .scales = scales.data(),
                                                      .rows = 5,
                                                      .dim = spec.hidden,
                                                      .x_stride = spec.hidden,
                                                      .values_stride = spec.hidden,
                                                      .scales_stride = 1}));
      const auto columns = spec.qkv_a_columns();
      std::vector<std::uint16_t> want(5 * columns.all, 0);
      const auto project = [&](const Matrix& w, int first) {
        const auto done = projections == Projections::kBf16
                              ? kernels::gemm_reference({.x = x.data(),
                                                         .w = w.bf16.data(),
                                                         .y = want.data() + first,
                                                         .m = 5,
                                                         .n = w.rows,
                                                         .k = w.columns,
                                                         .x_stride = w.columns,
                                                         .w_stride = w.columns,
                                                         .y_stride = columns.all})
                              : kernels::fp8_gemm_reference({.x = codes.data(),
                                                             .x_scales = scales.data(),
                                                             .w = w.fp8.data(),
                                                             .w_scales = w.scales.data(),
                                                             .y = want.data() + first,
                                                             .m = 5,
                                                             .n = w.rows,
                                                             .k = w.columns,
                                                             .x_stride = w.columns,
                                                             .x_scales_stride = 1,
                                                             .w_stride = w.columns,
                                                             .w_scales_stride = 1,
                                                             .y_stride = columns.all});
        EXPECT_TRUE(done);
      };
      project(run.weights.q_a, 0);
      if (has_indexer) project(run.weights.ik, columns.index_key);
      project(run.weights.kv_a, columns.kv);
      EXPECT_EQ(host<std::uint16_t>(*run.backend, run.pass->at("qkv_a")), want);
    }
  }
}

TEST(DsaLayerTest, SelectionBeginsJustBeyondTopk) {
  const LayerSpec spec = small_spec();
  const LayerRun at(cpu_backend(2), spec, {.past = {spec.topk - 1}, .added = {1}});
  EXPECT_TRUE(at.pass->dense);
  EXPECT_THAT(at.pass->stages, Not(Contains(model::Stage::kTopk)));
  EXPECT_THAT(at.pass->stages, Contains(model::Stage::kIndexCacheWrite));
  const LayerRun beyond(cpu_backend(2), spec, {.past = {spec.topk}, .added = {1}});
  EXPECT_FALSE(beyond.pass->dense);
  EXPECT_THAT(beyond.pass->stages, Contains(model::Stage::kTopk));
}

TEST(DsaLayerTest, ListsOfTheDenseRegimeEndWhereTheirTokenDoes) {
  // What stands beyond a token's own rows is not looked at: half of a prompt's lists.
  LayerRun run(cpu_backend(2), small_spec(), {.past = {3, 0}, .added = {20, 40}});
  ASSERT_TRUE(run.pass->dense);
  const auto want = run.values("y");
  auto lists = run.selection();
  for (std::int64_t t = 0; t < run.pass->tokens; ++t)
    std::fill(lists.begin() + t * run.pass->selected + run.pass->visible[t],
              lists.begin() + (t + 1) * run.pass->selected, 0);
  ASSERT_TRUE(
      run.backend->upload(lists.data(), lists.size() * 4, run.pass->at("selection").buffer.data()));
  ASSERT_TRUE(run.layer->run(*run.pass, *run.cache));
  EXPECT_EQ(run.values("y"), want);
}

TEST(DsaLayerTest, TheStepAtTopkChangesNothingButTheRegime) {
  // 64 visible tokens of 64 selectable: what runs sparse because of its neighbour must equal what
  // runs dense alone.
  const LayerSpec spec = small_spec();
  const LayerRun alone(cpu_backend(2), spec, {.past = {60}, .added = {4}});
  const LayerRun beside(cpu_backend(2), spec, {.past = {60, 100}, .added = {4, 1}});
  ASSERT_TRUE(alone.pass->dense);
  ASSERT_FALSE(beside.pass->dense);
  auto together = beside.values("y");
  together.resize(4 * spec.hidden);
  EXPECT_LT(relative_error(together, alone.values("y")), kOutputTolerance);
}

TEST(DsaLayerTest, ChunkedPrefillEqualsOnePass) {
  const LayerSpec spec = small_spec();
  const auto x = random_x(spec, 150);
  const LayerRun whole(cpu_backend(2), spec, {.past = {0}, .added = {150}});
  const auto want = whole.values("y");

  LayerRun chunked(cpu_backend(2), spec, {.past = {}, .added = {}});
  const RequestId request = chunked.cache->add_request();
  std::vector<double> got;
  std::int64_t done = 0;
  for (const std::int64_t chunk : {50, 1, 77, 22}) {
    const BatchRequest batch{.request = request, .new_tokens = chunk};
    auto pass = chunked.layer
                    ->prepare(*chunked.cache, {&batch, 1},
                              std::span(x).subspan(done * spec.hidden, chunk * spec.hidden))
                    .value();
    ASSERT_TRUE(chunked.layer->run(pass, *chunked.cache));
    for (const auto bits : host<std::uint16_t>(*chunked.backend, pass.at("y")))
      got.push_back(bf16_to_float(bits));
    done += chunk;
  }
  // The caches are equal to the bit but where a product of another shape adds in another order.
  EXPECT_LT(relative_error(got, want), kOutputTolerance);
}

TEST(DsaLayerTest, AForkedPrefixGivesWhatACopyWouldGive) {
  const LayerSpec spec = small_spec();
  LayerRun run(cpu_backend(2), spec, {.past = {100}, .added = {1}});
  const auto want = run.values("y");
  const RequestId parent = run.pass->requests[0].request;
  const RequestId child = run.cache->fork(parent, 100).value();
  const BatchRequest batch{.request = child, .new_tokens = 1};
  auto pass = run.layer->prepare(*run.cache, {&batch, 1}, random_x(spec, 1)).value();
  ASSERT_TRUE(run.layer->run(pass, *run.cache));
  std::vector<double> got;
  for (const auto bits : host<std::uint16_t>(*run.backend, pass.at("y")))
    got.push_back(bf16_to_float(bits));
  EXPECT_EQ(got, want);
}

TEST(DsaLayerTest, ASharedLayerUsesTheSelectionItIsGiven) {
  LayerSpec spec = small_spec();
  const Case c = {.past = {200}, .added = {2}};
  const LayerRun full(cpu_backend(2), spec, c);
  const auto selection = full.selection();
  spec.has_indexer = false;
  const LayerRun shared(cpu_backend(2), spec, c, selection);
  EXPECT_EQ(shared.values("y"), full.values("y")) << "same weights, same rows, same selection";
  EXPECT_THAT(shared.pass->stages, Not(Contains(model::Stage::kIndexCacheWrite)));
}

TEST(DsaLayerTest, ASharedLayerWithoutASelectionIsRefused) {
  LayerSpec spec = small_spec();
  spec.has_indexer = false;
  auto backend = cpu_backend(1);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  auto cache = CacheManager::create(*backend, {.pages = 8, .index_keys = false}).value();
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  const BatchRequest batch{.request = cache.add_request(), .new_tokens = 65};
  const auto pass = layer.prepare(cache, {&batch, 1}, random_x(spec, 65));
  ASSERT_FALSE(pass);
  EXPECT_EQ(pass.error().code(), Errc::kInvalidArgument);
  EXPECT_EQ(cache.pool().length(batch.request).value(), 0);
}

TEST(DsaLayerTest, OutOfMemoryOfOneRequestLeavesAllCachesAsTheyWere) {
  const LayerSpec spec = small_spec();
  LayerRun run(cpu_backend(1), spec, {.past = {64}, .added = {1}});  // 2 of 256 pages
  const RequestId other = run.cache->add_request();
  const std::vector<BatchRequest> batch = {
      {.request = run.pass->requests[0].request, .new_tokens = 10},
      {.request = other, .new_tokens = 254 * 64 + 1}};
  const auto pass = run.layer->prepare(*run.cache, batch, random_x(spec, 254 * 64 + 11));
  ASSERT_FALSE(pass);
  EXPECT_EQ(pass.error().code(), Errc::kOutOfMemory);
  EXPECT_EQ(run.cache->pool().length(batch[0].request).value(), 65);
  EXPECT_EQ(run.cache->pool().free_pages(), 254);
}

TEST(DsaLayerTest, RunningAPassAgainGivesTheSame) {
  LayerRun run(cpu_backend(3), small_spec(), {.past = {100}, .added = {9}});
  const auto first = run.values("y");
  ASSERT_TRUE(run.layer->run(*run.pass, *run.cache));
  EXPECT_EQ(run.values("y"), first);
}

TEST(DsaLayerTest, EmptyBatchesAreFine) {
  const LayerRun none(cpu_backend(1), small_spec(), {.past = {}, .added = {}});
  EXPECT_TRUE(none.values("y").empty());
  const LayerRun nothing_new(cpu_backend(1), small_spec(), {.past = {100}, .added = {0}});
  EXPECT_TRUE(nothing_new.values("y").empty());
}

TEST(DsaLayerTest, CachesBeyondTwoGigabytesAreAddressed) {
  // Memory is not touched before it is used: 3 GB are asked for, some pages taken.
  const LayerSpec spec = small_spec();
  const auto backend = cpu_backend(2);
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  const auto layer = DsaLayer::create(*backend, spec, weights).value();
  const auto output = [&](std::int64_t pages_before) {
    auto cache = CacheManager::create(*backend, {.pages = 41000}).value();
    EXPECT_TRUE(cache.append(cache.add_request(), pages_before * 64));
    const BatchRequest batch{.request = cache.add_request(), .new_tokens = 2};
    EXPECT_TRUE(fill_past(*backend, cache, spec, weights, batch.request, 100, {.seed = 3}));
    auto pass = layer.prepare(cache, {&batch, 1}, random_x(spec, 2)).value();
    EXPECT_TRUE(layer.run(pass, cache));
    EXPECT_GE(pass.slot[0], pages_before * 64);
    return host<std::uint16_t>(*backend, pass.at("y"));
  };
  EXPECT_EQ(output(40900), output(0));
}

TEST(DsaLayerTest, FastPathAgreesForEveryTopk) {
  for (const int topk : {64, 128, 2048, 4096}) {
    LayerSpec spec = small_spec();
    spec.topk = topk;
    SCOPED_TRACE(topk);
    expect_paths_agree(spec, {.past = {topk - 2, topk + 70}, .added = {2, 2}});
  }
}

TEST(DsaLayerTest, CacheRowsHoldLatentAndRotatedKeyByteForByte) {
  const LayerRun run(cpu_backend(1), small_spec(), {.past = {63}, .added = {3}});
  const auto latent = host<std::uint16_t>(*run.backend, run.pass->at("latent"));
  const auto rope = host<std::uint16_t>(*run.backend, run.pass->at("k_rope"));
  const auto rows = run.cache->kv_rows();
  const auto* cache = static_cast<const std::uint16_t*>(rows.data);
  for (int t = 0; t < 3; ++t) {
    const std::uint16_t* row = cache + run.pass->slot[t] * 576;
    EXPECT_TRUE(std::equal(row, row + 512, &latent[t * 512]));
    EXPECT_TRUE(std::equal(row + 512, row + 576, &rope[t * 64]));
  }
}

TEST(LayerWeightsTest, DistributionsDifferInTheScoresTheyMake) {
  const LayerSpec spec = small_spec();
  const auto scores = [&](ScoreDistribution distribution) {
    const LayerRun run(cpu_backend(2), spec,
                       {.past = {2000}, .added = {1}, .scores = distribution});
    return run.pass->kept_scores.at(0);
  };
  const auto ties = [](const std::vector<float>& values) {
    std::set<float> distinct(values.begin(), values.end());
    return 1 - static_cast<double>(distinct.size()) / static_cast<double>(values.size());
  };
  const auto spread = [](const std::vector<float>& values) {
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    return (*high - *low) / std::max(std::abs(*high), std::abs(*low));
  };
  EXPECT_LT(ties(scores(ScoreDistribution::kNormal)), 0.1);
  EXPECT_GT(ties(scores(ScoreDistribution::kTied)), 0.4);
  EXPECT_LT(spread(scores(ScoreDistribution::kFlat)), 0.5);
  EXPECT_GT(spread(scores(ScoreDistribution::kNormal)), 0.8);
}

TEST(LayerWeightsTest, TheSameSeedGivesTheSameWeights) {
  const LayerSpec spec = small_spec();
  const auto a = random_weights(spec, 5, ScoreDistribution::kNormal);
  EXPECT_EQ(a.q_b.bf16, random_weights(spec, 5, ScoreDistribution::kNormal).q_b.bf16);
  EXPECT_NE(a.q_b.bf16, random_weights(spec, 6, ScoreDistribution::kNormal).q_b.bf16);
}

TEST(DsaLayerTest, RefusesWeightsOfAnotherShape) {
  auto backend = cpu_backend(1);
  LayerSpec spec = small_spec();
  const auto weights = random_weights(spec, 1, ScoreDistribution::kNormal);
  spec.v = 16;
  const auto layer = DsaLayer::create(*backend, spec, weights);
  ASSERT_FALSE(layer);
  EXPECT_THAT(layer.error().message(), ::testing::HasSubstr("kv_b"));
}

}  // namespace
}  // namespace dsaperf::op
