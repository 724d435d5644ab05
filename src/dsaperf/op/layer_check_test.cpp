#include "dsaperf/op/layer_check.hpp"

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace dsaperf::op {
namespace {

using testing::random_x;
using testing::small_spec;

// A pass of a prefill chunk and a decode request, all tokens kept.
struct Checked {
  explicit Checked(const LayerSpec& spec = small_spec(),
                   std::vector<std::int64_t> past = {100, 30}) {
    weights = random_weights(spec, 1, ScoreDistribution::kNormal);
    layer = std::make_unique<DsaLayer>(DsaLayer::create(*backend, spec, weights).value());
    cache = std::make_unique<CacheManager>(
        CacheManager::create(*backend, {.pages = 16, .kv = kernels::KvRows::Format::kFp8}).value());
    std::vector<BatchRequest> batch;
    for (const std::int64_t tokens : past) {
      batch.push_back({.request = cache->add_request(), .new_tokens = 3});
      EXPECT_TRUE(fill_past(*backend, *cache, spec, weights, batch.back().request, tokens,
                            {.seed = 3, .stream = batch.size()}));
    }
    pass = std::make_unique<ForwardPass>(
        layer->prepare(*cache, batch, random_x(spec, 3 * static_cast<std::int64_t>(past.size())))
            .value());
    EXPECT_TRUE(layer->keep_scores(*pass, tokens_to_check(*pass, 8)));
    EXPECT_TRUE(layer->run(*pass, *cache));
  }

  LayerCheck check() const { return check_layer(*layer, weights, *pass, *cache, 2).value(); }
  // Whether exactly this stage fails.
  bool blames(model::Stage stage) const {
    const auto result = check();
    for (const auto& each : result.stages)
      if (each.passed == (each.stage == stage)) return false;
    return !result.passed;
  }

  std::unique_ptr<Backend> backend = cpu_backend(2);
  LayerWeights weights;
  std::unique_ptr<DsaLayer> layer;
  std::unique_ptr<CacheManager> cache;
  std::unique_ptr<ForwardPass> pass;
};

TEST(LayerCheckTest, PassesWhatIsRight) {
  const auto check = Checked().check();
  EXPECT_EQ(check.stages.size(), 13U);
  for (const auto& stage : check.stages)
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": " << stage.detail;
  EXPECT_TRUE(check.passed);
}

TEST(LayerCheckTest, PassesTheDenseRegimeAndFp8Projections) {
  LayerSpec spec = small_spec();
  spec.projections = Projections::kFp8Block;
  const auto check = Checked(spec, {10}).check();
  for (const auto& stage : check.stages)
    EXPECT_TRUE(stage.passed) << model::name(stage.stage) << ": " << stage.detail;
  EXPECT_EQ(check.stages.size(), 9U);
}

TEST(LayerCheckTest, BlamesTheStageThatWentWrong) {
  Checked wrong;
  wrong.pass->at("v_out").bf16()[5] = kernels::bf16_from(7);
  // v_up made it by then, o_projection had the right value before: both disagree with their input.
  const auto check = wrong.check();
  EXPECT_FALSE(check.passed);
  EXPECT_FALSE(check.stages[11].passed);
  EXPECT_TRUE(check.stages[10].passed);

  Checked last;
  last.pass->at("y").bf16()[5] = kernels::bf16_from(7);
  EXPECT_TRUE(last.blames(model::Stage::kOProjection));
}

TEST(LayerCheckTest, BlamesAWrongSelectionEvenOfTheRightSize) {
  Checked wrong;
  const auto& scores = wrong.pass->kept_scores.at(0);
  const auto lowest =
      static_cast<std::int32_t>(std::min_element(scores.begin(), scores.end()) - scores.begin());
  wrong.pass->at("selection").i32()[0] = lowest;
  EXPECT_FALSE(wrong.check().stages[9].passed);
  wrong.pass->at("selection").i32()[0] = wrong.pass->at("selection").i32()[1];
  EXPECT_FALSE(wrong.check().stages[9].passed) << "a position twice";
}

TEST(LayerCheckTest, BlamesOneWrongByteOfTheCache) {
  Checked wrong;
  const auto rows = wrong.cache->kv_rows();
  auto* row = static_cast<std::uint8_t*>(const_cast<void*>(rows.data)) +
              wrong.pass->slot[0] * rows.row_stride_bytes;
  row[3] ^= 1;
  EXPECT_FALSE(wrong.check().stages[4].passed);
}

TEST(LayerCheckTest, ANanWhereNoneBelongsFails) {
  Checked wrong;
  wrong.pass->at("y").bf16()[0] = 0x7fff;
  EXPECT_TRUE(wrong.blames(model::Stage::kOProjection));
}

TEST(LayerCheckTest, TokensToCheckReachFromFirstToLast) {
  ForwardPass pass;
  pass.tokens = 1000;
  const auto tokens = tokens_to_check(pass, 8);
  EXPECT_EQ(tokens.size(), 8U);
  EXPECT_EQ(tokens.front(), 0);
  EXPECT_EQ(tokens.back(), 999);
  pass.tokens = 3;
  EXPECT_EQ(tokens_to_check(pass, 8).size(), 3U);
  pass.tokens = 0;
  EXPECT_TRUE(tokens_to_check(pass, 8).empty());
}

}  // namespace
}  // namespace dsaperf::op
