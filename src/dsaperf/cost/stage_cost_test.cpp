#include "dsaperf/cost/stage_cost.hpp"

#include "dsaperf/cost/testing/layers.hpp"

#include <gtest/gtest.h>

#include <random>

namespace dsaperf::cost {
namespace {

using model::KvFormat;
using model::Stage;

LayerCost cost_of(const model::LayerPlan& layer, const Shape& shape) {
  auto cost = layer_cost(layer, shape);
  EXPECT_TRUE(cost) << cost.error().message();
  return *cost;
}

double non_weight_bytes(const LayerCost& cost) {
  double sum = 0;
  for (const auto& stage : cost.stages()) sum += stage.traffic.total() - stage.traffic.weights;
  return sum;
}

std::vector<Shape> random_shapes(int n) {
  std::mt19937 random(20261124);  // NOLINT(cert-msc51-cpp): the same shapes each run
  const auto size = [&](int log2_most) {
    return std::int64_t{1} << std::uniform_int_distribution(0, log2_most)(random);
  };
  std::vector<Shape> shapes;
  for (int i = 0; i < n; ++i) {
    const auto kv = i % 2 == 0 ? KvFormat::kBf16 : KvFormat::kFp8;
    const int heads = 8 << (i % 5);
    shapes.push_back(i % 3 == 0 ? Shape::decode(size(9), size(3), size(17) + size(6), heads, kv)
                                : Shape::prefill(size(5), size(13), size(17) - 1, heads, kv));
  }
  return shapes;
}

TEST(LayerCostTest, FollowsTheTableOfTheReference) {
  // 2 requests of 4096 new tokens on 16 heads, sparse.
  const auto cost =
      cost_of(testing::deepseek_v32(), Shape::prefill(2, 4096, 0, 16, KvFormat::kFp8));
  const double tokens = 8192;
  const double visible = 2 * 4096.0 * 4097 / 2;
  const double attended = 2 * (2048.0 * 2049 / 2 + 2048.0 * 2048);
  const auto flops = [&](Stage stage) { return cost.find(stage)->total_flops().value; };
  EXPECT_DOUBLE_EQ(flops(Stage::kQkvAProjection), 2 * tokens * 7168 * (1536 + 576 + 128 + 64));
  EXPECT_DOUBLE_EQ(flops(Stage::kQBProjection), 2 * tokens * 1536 * 16 * 192);
  EXPECT_DOUBLE_EQ(flops(Stage::kAbsorb), 2 * tokens * 16 * 128 * 512);
  EXPECT_DOUBLE_EQ(flops(Stage::kVUp), 2 * tokens * 16 * 512 * 128);
  EXPECT_DOUBLE_EQ(flops(Stage::kOProjection), 2 * tokens * 16 * 128 * 7168);
  EXPECT_DOUBLE_EQ(flops(Stage::kIndexerProjection), 2 * tokens * 1536 * 64 * 128);
  EXPECT_DOUBLE_EQ(flops(Stage::kIndexerScores), 2 * 64 * 128 * visible);
  EXPECT_DOUBLE_EQ(flops(Stage::kAttention), 2 * 16 * (576 + 512) * attended);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kIndexerScores)->traffic.index_cache, tokens * 132);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kIndexerScores)->traffic.scores, visible * 4);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kTopk)->traffic.activations, tokens * 2048 * 4);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kCacheWrite)->traffic.kv_cache, tokens * 656);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kIndexCacheWrite)->traffic.index_cache, tokens * 132);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAttention)->gathered_bytes, attended * 656);
}

TEST(LayerCostTest, DecodeReadsTheSelectedRowsOfEachRequest) {
  const auto cost =
      cost_of(testing::deepseek_v32(), Shape::decode(32, 1, 32767, 16, KvFormat::kBf16));
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAttention)->traffic.kv_cache, 32.0 * 2048 * 1152);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kIndexerScores)->traffic.index_cache, 32.0 * 32768 * 132);
}

TEST(LayerCostTest, DraftTokensOfARequestShareItsRows) {
  const auto cost =
      cost_of(testing::deepseek_v32(), Shape::decode(1, 4, 2045, 16, KvFormat::kBf16));
  // 2049 rows exist, four tokens select up to 2048 each.
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAttention)->traffic.kv_cache, 2049.0 * 1152);
}

TEST(LayerCostTest, TheDenseRegimeSelectsNothingButWritesIndexKeys) {
  const auto cost =
      cost_of(testing::deepseek_v32(), Shape::decode(4, 1, 2047, 16, KvFormat::kBf16));
  EXPECT_EQ(cost.find(Stage::kIndexerScores), nullptr);
  EXPECT_EQ(cost.find(Stage::kTopk), nullptr);
  EXPECT_NE(cost.find(Stage::kIndexCacheWrite), nullptr);
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAttention)->total_flops().value, 2.0 * 16 * 1088 * 4 * 2048);
}

TEST(LayerCostTest, DensePrefillExpandsTheLatentsOfEveryVisibleToken) {
  const auto cost =
      cost_of(testing::deepseek_v32(), Shape::prefill(1, 100, 900, 16, KvFormat::kBf16));
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAttention)->total_flops().value,
                   2.0 * 16 * (192 + 128) * (100 * 900 + 100 * 101 / 2));
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAbsorb)->total_flops().value, 2.0 * 1000 * 16 * 128 * 512);
}

TEST(LayerCostTest, LayersThatShareASelectionHaveNoIndexer) {
  const auto shape = Shape::decode(4, 1, 100000, 16, KvFormat::kFp8);
  const auto full = cost_of(testing::deepseek_v32(), shape);
  const auto shared = cost_of(testing::shared_selection(), shape);
  EXPECT_EQ(shared.find(Stage::kTopk), nullptr);
  EXPECT_EQ(shared.find(Stage::kIndexCacheWrite), nullptr);
  EXPECT_EQ(shared.find(Stage::kAttention)->total_flops(),
            full.find(Stage::kAttention)->total_flops());
  EXPECT_LT(shared.total_bytes(), full.total_bytes());
}

TEST(LayerCostTest, MlaAttendsToEverything) {
  const auto cost =
      cost_of(testing::deepseek_v3(), Shape::decode(1, 1, 99999, 16, KvFormat::kBf16));
  EXPECT_DOUBLE_EQ(cost.find(Stage::kAttention)->total_flops().value, 2.0 * 16 * 1088 * 100000);
}

TEST(LayerCostTest, ABatchCostsTheSumOfItsRequestsButForWeights) {
  const auto layer = testing::deepseek_v32();
  const auto shapes = random_shapes(200);
  for (std::size_t i = 0; i + 1 < shapes.size(); ++i) {
    const Shape& a = shapes[i];
    Shape b = shapes[i + 1];
    b.heads = a.heads;
    b.kv = a.kv;
    b.dense = a.dense;
    Shape both = a;
    both.requests.push_back(b.requests.front());
    const auto cost = cost_of(layer, both);
    const double flops =
        cost_of(layer, a).total_flops().value + cost_of(layer, b).total_flops().value;
    const double bytes = non_weight_bytes(cost_of(layer, a)) + non_weight_bytes(cost_of(layer, b));
    // Sums of at most 26 rounded terms: 26 * 2^-53.
    EXPECT_NEAR(cost.total_flops().value, flops, 1e-14 * flops);
    EXPECT_NEAR(non_weight_bytes(cost), bytes, 1e-14 * bytes);
  }
}

TEST(LayerCostTest, GrowsWithEverySizeWithinARegime) {
  for (const auto& layer :
       {testing::deepseek_v32(), testing::shared_selection(), testing::deepseek_v3()}) {
    for (const Shape& shape : random_shapes(300)) {
      const auto& request = shape.requests.front();
      const auto base = cost_of(layer, shape);
      const auto regime = [](const RequestGroup& r) {
        return r.new_tokens + r.past_tokens <= 2048;
      };
      const auto grows = [&](auto change) {
        Shape larger = shape;
        change(larger.requests.front(), larger);
        if (regime(larger.requests.front()) != regime(request)) return;
        const auto cost = cost_of(layer, larger);
        EXPECT_GE(cost.total_flops(), base.total_flops());
        EXPECT_GE(cost.total_bytes(), base.total_bytes());
        EXPECT_GE(cost.launches(), base.launches());
      };
      grows([](RequestGroup& r, Shape&) { ++r.count; });
      grows([](RequestGroup& r, Shape&) { ++r.new_tokens; });
      grows([](RequestGroup& r, Shape&) { ++r.past_tokens; });
      grows([](RequestGroup&, Shape& s) { s.heads = std::min(128, s.heads * 2); });
    }
  }
}

// One token more changes no total by more than its share: the relative step is at most a few parts
// in the length. At topk the regimes meet with a step.
TEST(LayerCostTest, IsContinuousButAtTopk) {
  const auto layer = testing::deepseek_v32();
  const auto step = [&](std::int64_t past, std::int64_t fresh) {
    const auto a = cost_of(layer, Shape::prefill(1, fresh, past, 16, KvFormat::kBf16));
    const auto b = cost_of(layer, Shape::prefill(1, fresh, past + 1, 16, KvFormat::kBf16));
    return std::abs(b.total_flops().value / a.total_flops().value - 1);
  };
  for (std::int64_t past : {500, 1500, 1900, 1983, 1985, 2047, 2048, 2049, 10000}) {
    if (past + 64 == 2048) continue;
    EXPECT_LT(step(past, 64), 2.0 / static_cast<double>(past)) << past;
  }
  EXPECT_GT(step(2048 - 64, 64), 0.05);
}

TEST(LayerCostTest, WhatIsNotAListOfStagesIsRefused) {
  auto layer = testing::deepseek_v32();
  layer.attention = model::AttentionKind::kBlockSparse;
  const auto shape = Shape::decode(1, 1, 10, 16, KvFormat::kBf16);
  EXPECT_EQ(layer_cost(layer, shape).error().code(), Errc::kUnsupported);
  EXPECT_EQ(layer_cost(testing::deepseek_v32(), Shape::decode(1, 1, 10, 256, KvFormat::kBf16))
                .error()
                .code(),
            Errc::kInvalidArgument);
}

TEST(LayerCostTest, NothingToDoCostsNothing) {
  const auto cost = cost_of(testing::deepseek_v32(), Shape::decode(0, 1, 10, 16, KvFormat::kBf16));
  EXPECT_TRUE(cost.stages().empty());
}

TEST(CacheBytesTest, AreThoseOfTheLayouts) {
  const auto layer = testing::deepseek_v32();
  EXPECT_EQ(kv_row_bytes(layer.geometry, KvFormat::kBf16), 1152);
  EXPECT_EQ(kv_row_bytes(layer.geometry, KvFormat::kFp8), 656);
  EXPECT_EQ(index_row_bytes(*layer.indexer), 132);
}

}  // namespace
}  // namespace dsaperf::cost
