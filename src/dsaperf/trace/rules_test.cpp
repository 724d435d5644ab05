#include "dsaperf/trace/rules.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/trace/read_trace.hpp"
#include "dsaperf/trace/stage_times.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

namespace dsaperf::trace {
namespace {

using ::testing::HasSubstr;

RuleSet shipped() {
  set_data_dir(DSAPERF_SOURCE_DIR "/data");
  auto rules = RuleSet::shipped();
  EXPECT_TRUE(rules) << rules.error().message();
  return *std::move(rules);
}

Part part_of_kernel(const RuleSet& rules, std::string_view printed, std::string_view op = "") {
  const auto name = canonical_name(printed);
  const std::vector<bool> everything(kPartCount, true);
  const auto* rule = rules.match({name, op, ""}, &everything);
  return rule == nullptr ? Part::kUnclassified : rule->part;
}

TEST(PatternTest, PiecesMustOccurInOrder) {
  EXPECT_TRUE(Pattern("mqa*logits").matches("paged_mqa_fp8_logits_x"));
  EXPECT_FALSE(Pattern("logits*mqa").matches("paged_mqa_fp8_logits_x"));
  EXPECT_TRUE(Pattern("").matches(""));
}

TEST(PatternTest, AnchorsTieTheEnds) {
  EXPECT_TRUE(Pattern("^topk").matches("topk_x"));
  EXPECT_FALSE(Pattern("^topk").matches("a_topk"));
  EXPECT_TRUE(Pattern("topk$").matches("a_topk"));
  EXPECT_FALSE(Pattern("^topk$").matches("topk_x"));
  EXPECT_TRUE(Pattern("^a*c$").matches("abc"));
  EXPECT_FALSE(Pattern("^ab*bc$").matches("abc"));  // pieces do not overlap
}

TEST(RuleSetTest, FirstMatchWins) {
  const auto rules = RuleSet::parse(
      "format: dsaperf.stages.1\nrules:\n"
      "  - {stage: moe_router, kernel: [moe*topk]}\n  - {stage: topk, kernel: topk}\n");
  ASSERT_TRUE(rules) << rules.error().message();
  EXPECT_EQ(part_of_kernel(*rules, "moe_fused_topk"), Part::kMoeRouter);
  EXPECT_EQ(part_of_kernel(*rules, "topk_per_row"), Part::kTopk);
}

TEST(RuleSetTest, OwnRulesAreAskedFirstAndMayNameStagesOfTheLayer) {
  auto rules = shipped();
  rules.put_in_front(RuleSet::parse("format: dsaperf.stages.1\nrules:\n"
                                    "  - {stage: index_cache_write, kernel: [fused_moe_kernel]}\n")
                         .value());
  EXPECT_EQ(part_of_kernel(rules, "fused_moe_kernel"), Part::kIndexerQuantise);
}

TEST(RuleSetTest, MistakesAreNamedWithTheirLine) {
  const auto message = [](std::string_view rule) {
    return RuleSet::parse("format: dsaperf.stages.1\nrules:\n  - " + std::string(rule) + "\n")
        .error()
        .message();
  };
  EXPECT_THAT(message("{stage: nope, kernel: [x]}"), HasSubstr("line 3: stage \"nope\""));
  EXPECT_THAT(message("{stage: topk, kernels: [x]}"), HasSubstr("key \"kernels\""));
  EXPECT_THAT(message("{stage: topk}"), HasSubstr("needs a pattern"));
  EXPECT_THAT(message("{kernel: [x]}"), HasSubstr("needs a stage"));
  EXPECT_THAT(message("{stage: topk, kernel: [x], phase: both}"), HasSubstr("phase"));
  EXPECT_THAT(message("{stage: ["), HasSubstr("line"));
  EXPECT_THAT(RuleSet::parse("format: dsaperf.stages.2\nrules: []").error().message(),
              HasSubstr("dsaperf.stages.2"));
  EXPECT_FALSE(RuleSet::parse("rules: []"));
}

TEST(RuleSetTest, RulesBesideOthersWaitForThem) {
  const auto rules = RuleSet::parse(
      "format: dsaperf.stages.1\nrules:\n  - {stage: moe, kernel: [experts]}\n"
      "  - {stage: moe, kernel: [silu], beside: moe}\n  - {stage: mlp, kernel: [silu]}\n");
  const auto part_of_silu = [&](std::string_view other) {
    Timeline timeline;
    for (const auto name : {std::string_view("silu_and_mul"), other}) {
      timeline.sums.push_back({.name = timeline.names.intern(name), .calls = 1, .total_ns = 1});
    }
    return classify(timeline, *rules).sums[0].part;
  };
  EXPECT_EQ(part_of_silu("experts_gemm"), Part::kMoe);
  EXPECT_EQ(part_of_silu("dense_gemm"), Part::kMlp);
}

TEST(RuleSetTest, MarkedStagesBeatNames) {
  Timeline timeline;
  Launch launch;
  launch.name = timeline.names.intern("nvjet_sm90_tst_64x8");
  launch.range = timeline.names.intern("stage/q_b_projection");
  timeline.launches = {launch};
  const auto classified = classify(timeline, shipped());
  EXPECT_EQ(classified.launches[0].part, Part::kGemm);
  EXPECT_EQ(classified.launches[0].marked, model::Stage::kQBProjection);
}

TEST(ShippedRulesTest, TopkOfRoutersAndSamplersIsNotTheIndexers) {
  const auto rules = shipped();
  for (const char* name :
       {"void vllm::moe::topkGatingSoftmax<8>(float*)", "vllm::topk_kernel",
        "void at::native::sbtopk::gatherTopK<float, unsigned int, 2, false>(int)",
        "void moe::dev::routing::routingDeepSeek::routingMainKernel<1>(int)",
        "void grouped_topk_fused_kernel<float>(float*)"}) {
    EXPECT_EQ(part_of_kernel(rules, name), Part::kMoeRouter) << name;
  }
  EXPECT_EQ(
      part_of_kernel(rules, "void flashinfer::sampling::TopKTopPSamplingFromProbKernel<1>(int)"),
      Part::kSampling);
  for (const char* name : {"void vllm::topKPerRowDecode<1>(int)",
                           "void tensorrt_llm::kernels::topKPerRowPrefill<1>(int)",
                           "(anonymous namespace)::topk_transform_decode_kernel(int)"}) {
    EXPECT_EQ(part_of_kernel(rules, name), Part::kTopk) << name;
  }
}

TEST(ShippedRulesTest, OperatorsTellTorchKernelsApart) {
  const auto rules = shipped();
  const char* gather = "void at::native::sbtopk::gatherTopK<float, unsigned int, 1, false>(int)";
  EXPECT_EQ(
      part_of_kernel(rules, gather, "aten::topk float Scalar [1,1,4099] []  2048 -1 True True"),
      Part::kTopk);
  EXPECT_EQ(part_of_kernel(rules, gather, "aten::topk float Scalar [1,8] []  8 -1 True False"),
            Part::kMoeRouter);
}

// What the hand-made list of kernel names calls its stages, and ours.
TEST(ShippedRulesTest, KnownKernelNamesHaveTheirStage) {
  const auto path = testing::fixture("traces/dsa_kernel_names.csv");
  if (!path) GTEST_SKIP() << testing::kNoFixtures;
  const std::map<std::string, Part, std::less<>> due = {
      {"indexer logits", Part::kIndexerScores},
      {"indexer logits metadata", Part::kIndexerScores},
      {"indexer top-k", Part::kTopk},
      {"top-k index to slot conversion", Part::kTopk},
      {"indexer hadamard", Part::kIndexerQuantise},
      {"indexer quantise", Part::kIndexerQuantise},
      {"indexer quantise + K cache write", Part::kIndexerQuantise},
      {"indexer K cache write", Part::kIndexerQuantise},
      {"indexer K cache gather", Part::kIndexerQuantise},
      {"sparse attention", Part::kAttention},
      {"sparse attention metadata", Part::kAttention},
      {"sparse attention combine", Part::kAttentionCombine},
      {"KV quantise", Part::kRopeCacheWrite},
      {"KV cache write", Part::kRopeCacheWrite},
      {"rope", Part::kRopeCacheWrite},
      {"query concat", Part::kRopeCacheWrite},
      {"dense attention (kv <= topk)", Part::kAttentionDense},
      {"not DSA (MoE router)", Part::kMoeRouter},
      {"not DSA (MoE)", Part::kMoe},
      {"not DSA (GEMM input quantise)", Part::kActivationQuantise},
      {"not DSA (communication)", Part::kAllReduce},
  };
  const auto rules = shipped();
  auto csv = CsvReader::open(*path).value();
  ASSERT_TRUE(csv.next().value());
  int rows = 0;
  while (csv.next().value()) {
    const auto found = due.find(csv.field(2));
    ASSERT_NE(found, due.end()) << csv.field(2);
    EXPECT_EQ(name(part_of_kernel(rules, csv.field(0))), name(found->second)) << csv.field(0);
    ++rows;
  }
  EXPECT_EQ(rows, 29);
}

// Names as they stand in the sources of the serving stacks and their kernel libraries.
TEST(ShippedRulesTest, KernelsOfServingStacksHaveTheirStage) {
  const auto rules = shipped();
  auto csv =
      CsvReader::open(DSAPERF_SOURCE_DIR "/src/dsaperf/trace/testing/kernel_stages.csv").value();
  ASSERT_TRUE(csv.next().value());
  int rows = 0;
  while (csv.next().value()) {
    EXPECT_EQ(name(part_of_kernel(rules, csv.field(1))), csv.field(0)) << csv.field(1);
    ++rows;
  }
  EXPECT_GT(rows, 420);
}

TEST(ShippedRulesTest, AProgramOfTilelangWithoutANameIsAttentionBesideAnIndexer) {
  const auto part_of_main = [](std::string_view other) {
    Timeline timeline;
    for (const auto name : {std::string_view("main_kernel"), other}) {
      timeline.sums.push_back({.name = timeline.names.intern(name), .calls = 1, .total_ns = 1});
    }
    return classify(timeline, shipped()).sums[0].part;
  };
  EXPECT_EQ(part_of_main("fp8_index_kernel__kernel"), Part::kAttention);
  EXPECT_EQ(part_of_main("nvjet_tst_64x8"), Part::kUnclassified);
}

TEST(ShippedRulesTest, StageTableOfAServedModelIsTheHandMadeOne) {
  const auto path = testing::fixture("nsys_csv/glm51fp8-sglang-h200x8-dsa-bs29_kern_sum.csv");
  if (!path) GTEST_SKIP() << testing::kNoFixtures;
  const auto timeline = read_trace(*path).value();
  const auto table = stage_table(timeline, classify(timeline, shipped()));
  std::map<std::string, double> times;
  for (const auto& group : table.groups) times[group.name] = group.time_ns;
  EXPECT_EQ(times["attention"], 52972308529);
  EXPECT_EQ(times["attention_combine"], 1008052710);
  EXPECT_EQ(times["attention_dense"], 206041705);
  EXPECT_EQ(times["indexer_scores"], 1814589283);
  EXPECT_EQ(times["topk"], 2070424009);
  EXPECT_EQ(times["indexer_quantise"], 2281316848);
  EXPECT_EQ(times["rope_cache_write"], 1347718851);
  EXPECT_EQ(times["moe"], 25335351761);
  EXPECT_EQ(times["moe_router"], 5401667942);
  EXPECT_EQ(times["all_reduce"], 20280895420);
  EXPECT_EQ(times["gemm"], 10678007207);
  EXPECT_EQ(times["activation_quantise"], 4025537173);
  EXPECT_EQ(times["norm"], 2853216042);
  EXPECT_EQ(times["other"], 3100450036);
  EXPECT_EQ(table.unclassified_share, 0);
}

TEST(PartTest, NamesGoThereAndBack) {
  for (const Part part : all_parts()) EXPECT_EQ(part_from_name(name(part)), part);
  for (const auto stage : model::all_stages()) {
    EXPECT_TRUE(in_attention_layer(part_of(stage))) << model::name(stage);
  }
}

}  // namespace
}  // namespace dsaperf::trace
