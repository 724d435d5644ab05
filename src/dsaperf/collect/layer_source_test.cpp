#include "dsaperf/collect/layer_source.hpp"

#include "dsaperf/op/testing/small_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace dsaperf::collect {
namespace {

using model::Stage;
using testing::HasSubstr;

Case small_case(std::vector<cost::RequestGroup> requests,
                perfdb::Phase phase = perfdb::Phase::kGeneration) {
  return {.phase = phase,
          .requests = std::move(requests),
          .heads = 8,
          .gemm = model::WeightFormat::kBf16};
}

Result<op::LayerSpec> small_spec_of(const Case& what) {
  auto spec = op::testing::small_spec();
  spec.heads = what.heads;
  spec.has_indexer = what.role == model::IndexerRole::kFull;
  return spec;
}

struct FakeReader : CardReader {
  Result<CardReading> read() override {
    ++reads;
    return CardReading{.sm_mhz = 1900 + reads,
                       .memory_mhz = 3200,
                       .power_w = 100.0 * reads,
                       .temperature_c = 40 + reads,
                       .throttle_reasons = reasons};
  }
  int reads = 0;
  std::vector<std::string> reasons;
};

struct FakeWitness : KernelWitness {
  Result<std::vector<std::string>> kernels_of(const std::function<Result<void>()>& work) override {
    DSAPERF_TRY(work());
    return kernels;
  }
  std::vector<std::string> kernels;
};

LayerSource::Options quick() {
  return {.cache_pages = 16,
          .distinct_tokens = 256,
          .stopping = {.least = 5, .most = 7, .settle_seconds = 0},
          .stage_samples = 3,
          .version = "1"};
}

std::unique_ptr<LayerSource> source(std::unique_ptr<CardReader> reader = {},
                                    std::unique_ptr<KernelWitness> witness = {}) {
  return *LayerSource::create(op::cpu_backend(1), small_spec_of, quick(), std::move(reader),
                              std::move(witness));
}

TEST(LayerSourceTest, MeasuresALayerColdAndWarmWithItsStages) {
  auto timed = source();
  const auto result = timed->measure(small_case({{3, 1, 100}}));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_GT(result->warm.median.value, 0);
  EXPECT_GT(result->cold.median.value, 0);
  EXPECT_GE(result->warm.count, 5);
  EXPECT_LE(result->warm.count, 7);
  EXPECT_EQ(result->stages.size(), 13U) << "100 cached tokens are above topk 64: all stages run";
  for (const auto& stage : result->stages) {
    EXPECT_GE(stage.time.value, 0) << model::name(stage.stage);
    EXPECT_GT(stage.cold.value + stage.time.value, 0) << model::name(stage.stage);
  }
  EXPECT_EQ(timed->info().method, "graph-3");
}

TEST(LayerSourceTest, OfStagesAloneOnlyTheseAreReported) {
  auto what = small_case({{3, 1, 100}});
  what.stages = {Stage::kTopk, Stage::kAttention};
  const auto result = source()->measure(what);
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_EQ(result->stages.size(), 2U);
  EXPECT_EQ(result->stages[1].stage, Stage::kAttention);
  EXPECT_LE(result->warm.p10, result->warm.median);

  what = small_case({{3, 1, 10}});
  what.stages = {Stage::kTopk};
  const auto dense = source()->measure(what);
  ASSERT_FALSE(dense);
  EXPECT_THAT(dense.error().message(), HasSubstr("does not run stage topk"));
}

TEST(LayerSourceTest, EvidenceOfStagesAloneIsOfWhatRan) {
  auto witness = std::make_unique<FakeWitness>();
  auto* saw = witness.get();
  auto timed = source(nullptr, std::move(witness));
  auto what = small_case({{1, 1, 100}});
  what.stages = {Stage::kQBProjection};
  const auto projection = timed->measure(what);
  ASSERT_TRUE(projection) << projection.error().message();
  EXPECT_EQ(projection->kernel_source, "") << "no attention ran";

  what.stages = {Stage::kTopk};
  saw->kernels = {"_ZN7dsaperf7kernels4sm9013scores_kernelEv", "dsaperf::kernels::topk_kernel()"};
  const auto topk = timed->measure(what);
  ASSERT_TRUE(topk) << topk.error().message() << ": top-k runs behind the scores that it reads";
  ASSERT_EQ(topk->stages.size(), 1U);
  EXPECT_THAT(topk->stages[0].kernel, HasSubstr("topk_kernel"));

  what.stages = {Stage::kAttention};
  EXPECT_THAT(timed->measure(what).error().message(), HasSubstr("attention"));
}

TEST(LayerSourceTest, RowsHoldTheCardsStateAndWhetherItWasThrottled) {
  auto reader = std::make_unique<FakeReader>();
  auto* card = reader.get();
  auto timed = source(std::move(reader));
  const auto result = timed->measure(small_case({{1, 1, 100}}));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(card->reads, 3);
  EXPECT_EQ(result->card.sm_mhz, 1902) << "the middle one";
  EXPECT_EQ(result->card.temperature_c, 43) << "the highest";
  EXPECT_DOUBLE_EQ(result->card.power_w, 200);
  EXPECT_FALSE(result->disturbed());
  card->reasons = {"thermal"};
  EXPECT_TRUE(timed->measure(small_case({{1, 1, 100}}))->disturbed());
  card->reasons = {std::string(kPowerCap)};
  const auto capped = timed->measure(small_case({{1, 1, 100}}));
  EXPECT_FALSE(capped->disturbed()) << "the case itself draws the power";
  EXPECT_TRUE(capped->card.power_capped());
}

TEST(LayerSourceTest, KernelSourceIsWhatTheWitnessSaw) {
  auto witness = std::make_unique<FakeWitness>();
  auto* saw = witness.get();
  auto timed = source(nullptr, std::move(witness));
  saw->kernels = {"_ZN7dsaperf7kernels4sm9013scores_kernelEv", "dsaperf::kernels::topk_kernel()",
                  "dsaperf::kernels::rows::selection_rows_kernel(int)",
                  "dsaperf::kernels::rows::rows_to_bf16_kernel(int)",
                  "void dsaperf::kernels::sm90::sparse_mla_kernel<64>(int)"};
  const auto result = timed->measure(small_case({{1, 1, 100}}));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_THAT(result->kernel_source, HasSubstr("sparse_mla_kernel"));
  for (const auto& stage : result->stages) {
    if (stage.stage != Stage::kTopk) continue;
    EXPECT_THAT(stage.kernel, HasSubstr("topk_kernel"));
  }
  // A dense layer selects nothing: the same kernels are those of another row.
  const auto dense = timed->measure(small_case({{1, 1, 10}}));
  ASSERT_FALSE(dense);
  EXPECT_THAT(dense.error().message(), HasSubstr("evidence"));
  saw->kernels = {"dsaperf::kernels::rows::selection_rows_kernel(int)"};
  EXPECT_THAT(timed->measure(small_case({{1, 1, 100}})).error().message(), HasSubstr("attention"));
}

TEST(LayerArenaTest, CasesShareWeightsAndCaches) {
  auto backend = op::cpu_backend(1);
  LayerArena arena(*backend, small_spec_of, {.pages = 64, .distinct_tokens = 256});
  for (const std::int64_t past : {10, 100, 200, 400}) {
    ASSERT_TRUE(arena.prepare(small_case({{4, 1, past}}))) << past;
  }
  EXPECT_EQ(arena.layers_made(), 1);
  EXPECT_EQ(arena.caches_made(), 1);
  auto fp8 = small_case({{4, 1, 100}});
  fp8.kv = model::KvFormat::kFp8;
  ASSERT_TRUE(arena.prepare(fp8));
  ASSERT_TRUE(arena.prepare(small_case({{4, 1, 100}})));
  EXPECT_EQ(arena.caches_made(), 2) << "one for each format stays";
  ASSERT_TRUE(arena.prepare(small_case({{20, 1, 400}}))) << "more pages than there were";
  EXPECT_EQ(arena.caches_made(), 3);
  EXPECT_EQ(arena.layers_made(), 1);
}

// A pass over pages that were filled once gives finite, non-zero outputs for every request, also
// for those whose pages repeat the drawn ones.
TEST(LayerArenaTest, EveryRequestSeesRandomPastTokens) {
  auto backend = op::cpu_backend(1);
  LayerArena arena(*backend, small_spec_of, {.pages = 24, .distinct_tokens = 192});
  auto prepared = arena.prepare(small_case({{3, 2, 190}, {2, 1, 300}}));
  ASSERT_TRUE(prepared) << prepared.error().message();
  ASSERT_TRUE(prepared->layer->run(prepared->pass, *prepared->cache));
  const auto lse = op::testing::host<float>(*backend, prepared->pass.at("lse"));
  ASSERT_EQ(lse.size(), 8U * 8U);
  for (const float value : lse) {
    EXPECT_TRUE(std::isfinite(value));
    EXPECT_GT(value, 1) << "a softmax over at least 64 random rows";
  }
}

TEST(LayerArenaTest, ALayerWithoutIndexerGetsItsSelection) {
  auto backend = op::cpu_backend(1);
  LayerArena arena(*backend, small_spec_of, {.pages = 24, .distinct_tokens = 192});
  auto what = small_case({{2, 3, 190}});
  what.role = model::IndexerRole::kShared;
  auto prepared = arena.prepare(what);
  ASSERT_TRUE(prepared) << prepared.error().message();
  EXPECT_TRUE(prepared->layer->run(prepared->pass, *prepared->cache));
}

// New tokens and selections are made once and copied: every case must find the same as one that
// uploads them.
TEST(LayerArenaTest, NewTokensAndSelectionsAreTheSameForEveryCase) {
  auto backend = op::cpu_backend(1);
  LayerArena arena(*backend, small_spec_of, {.pages = 64, .distinct_tokens = 256});
  auto what = small_case({{2, 3, 190}, {1, 1, 70}});
  what.role = model::IndexerRole::kShared;
  const auto selection_and_x = [&](const Case& each) {
    auto prepared = arena.prepare(each);
    EXPECT_TRUE(prepared) << prepared.error().message();
    return std::pair(op::testing::host<std::int32_t>(*backend, prepared->pass.at("selection")),
                     op::testing::host<std::uint16_t>(*backend, prepared->pass.at("x")));
  };
  const auto [selection, x] = selection_and_x(what);
  EXPECT_EQ(selection,
            spread_selection(std::vector<std::int32_t>{191, 192, 193, 191, 192, 193, 71}, 64, 1));
  EXPECT_GT(std::ranges::count_if(x, [](auto value) { return value != 0; }),
            static_cast<std::ptrdiff_t>(x.size() / 2));
  what.kv = model::KvFormat::kFp8;
  EXPECT_EQ(selection_and_x(what), std::pair(selection, x));
  EXPECT_EQ(arena.selections_made(), 1) << "for the same shape";

  auto longer = what;
  longer.requests = {{8, 2, 190}};
  const auto [other, more_x] = selection_and_x(longer);
  EXPECT_EQ(other.size(), 16U * 64U);
  EXPECT_TRUE(std::equal(x.begin(), x.end(), more_x.begin())) << "the same first tokens";
  EXPECT_EQ(arena.selections_made(), 2);
  EXPECT_EQ(selection_and_x(what), std::pair(selection, x)) << "after a larger case";
}

// Pages pass from case to case, with the keys that passes wrote: whatever was before, every token
// that sees more than topk positions selects the first topk of its own request.
TEST(LayerArenaTest, PeakedScoresSelectTheFirstPositionsInEveryCase) {
  auto backend = op::cpu_backend(1);
  LayerArena arena(*backend, small_spec_of, {.pages = 40, .distinct_tokens = 640});
  auto prefill = small_case({{2, 200, 0}, {1, 100, 30}}, perfdb::Phase::kContext);
  auto decode = small_case({{3, 2, 700}, {2, 1, 64}});
  for (auto* what : {&decode, &prefill, &decode, &prefill}) {
    SCOPED_TRACE(what->id());
    what->scores = ScoreDistribution::kPeaked;
    auto prepared = arena.prepare(*what);
    ASSERT_TRUE(prepared) << prepared.error().message();
    auto& pass = prepared->pass;
    ASSERT_TRUE(prepared->layer->run(pass, *prepared->cache));
    const auto selection = op::testing::host<std::int32_t>(*backend, pass.at("selection"));
    for (std::int64_t t = 0; t < pass.tokens; ++t) {
      const auto got = op::testing::selected(selection, pass.selected, t);
      const int expected = std::min(pass.visible[t], pass.spec.topk);
      ASSERT_EQ(static_cast<int>(got.size()), expected) << "token " << t;
      ASSERT_EQ(*got.rbegin(), expected - 1) << "token " << t;
    }
  }
  EXPECT_EQ(arena.caches_made(), 1);
}

TEST(SpreadSelectionTest, PositionsAreDistinctAndVisible) {
  const std::vector<std::int32_t> visible = {3, 64, 65, 1000, 4096, 100003};
  const auto selection = spread_selection(visible, 64, 5);
  for (std::size_t t = 0; t < visible.size(); ++t) {
    std::set<std::int32_t> seen;
    const int expected = std::min(visible[t], 64);
    for (int i = 0; i < 64; ++i) {
      const auto position = selection[t * 64 + static_cast<std::size_t>(i)];
      if (i >= expected) {
        EXPECT_EQ(position, -1);
        continue;
      }
      EXPECT_GE(position, 0);
      EXPECT_LT(position, visible[t]);
      EXPECT_TRUE(seen.insert(position).second) << "token " << t << " position " << position;
    }
  }
}

TEST(PagesTest, EveryRequestHasItsOwnPages) {
  EXPECT_EQ(pages_of(small_case({{1, 1, 63}})), 1);
  EXPECT_EQ(pages_of(small_case({{1, 1, 64}})), 2);
  EXPECT_EQ(pages_of(small_case({{3, 1, 64}, {2, 100, 0}})), 10);
}

}  // namespace
}  // namespace dsaperf::collect
