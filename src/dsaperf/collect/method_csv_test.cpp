#include "dsaperf/collect/method_csv.hpp"

#include "dsaperf/cost/testing/layers.hpp"

#include <gtest/gtest.h>

namespace dsaperf::collect {
namespace {

MethodCsv csv_of(Case what) {
  Entry entry{.what = std::move(what), .attempts = 1};
  entry.measurement.warm.median = Micros{40770};
  entry.measurement.kernel_source = "default";
  const JournalHeader header{
      .source = {.framework = "TRTLLM", .version = "1.2.0rc5", .device = "NVIDIA H20-3e"}};
  return method_csv(header, {{entry.what.id(), entry}}, cost::testing::deepseek_v32());
}

TEST(MethodCsvTest, AContextLineIsTheOneThatPractitionersWrite) {
  const auto csv =
      csv_of({.phase = perfdb::Phase::kContext, .requests = {{1, 4096, 0}}, .heads = 128});
  EXPECT_EQ(
      csv.text,
      "framework,version,device,op_name,kernel_source,dsa_dtype,num_heads,index_n_heads,index_topk,"
      "batch_size,isl,tp_size,step,latency\n"
      "TRTLLM,1.2.0rc5,NVIDIA H20-3e,dsa_context,default,bfloat16,128,64,2048,1,4096,1,0,40.77\n");
}

TEST(MethodCsvTest, AGenerationLineCountsTheCacheAsIsl) {
  const auto csv =
      csv_of({.phase = perfdb::Phase::kGeneration, .requests = {{8, 1, 32767}}, .heads = 16});
  EXPECT_NE(csv.text.find("dsa_generation,default,bfloat16,16,64,2048,8,32767,8,1,40.77\n"),
            std::string::npos)
      << csv.text;
}

TEST(MethodCsvTest, ASumOfStagesSaysSoInItsLine) {
  Entry entry{.what = {.phase = perfdb::Phase::kContext, .requests = {{1, 4096, 0}}, .heads = 128},
              .composed = true};
  entry.measurement.warm.median = Micros{1000};
  entry.measurement.kernel_source = "kernel";
  const auto csv = method_csv({}, {{entry.what.id(), entry}}, cost::testing::deepseek_v32());
  EXPECT_NE(csv.text.find(",dsa_context,kernel [composed],bfloat16,128,"), std::string::npos)
      << csv.text;
}

// A line names neither: with both in it, two lines would stand for one point.
TEST(MethodCsvTest, APointHasOneLineHoweverItWasLaunchedAndProjected) {
  std::map<std::string, Entry> entries;
  for (const auto launch : {Launch::kGraph, Launch::kEager}) {
    for (const auto gemm : {model::WeightFormat::kBf16, model::WeightFormat::kFp8Block}) {
      Entry entry{
          .what = {.requests = {{1, 4096, 0}}, .heads = 16, .gemm = gemm, .launch = launch}};
      const bool said = launch == Launch::kGraph && gemm == model::WeightFormat::kFp8Block;
      entry.measurement.warm.median = Micros{said ? 1500.0 : 9.0};
      entries.emplace(entry.what.id(), entry);
    }
  }
  const auto csv = method_csv({}, entries, cost::testing::deepseek_v32());
  EXPECT_EQ(csv.rows, 1U);
  EXPECT_EQ(csv.left_out, 3U);
  EXPECT_NE(csv.text.find(",1.5\n"), std::string::npos) << csv.text;

  // Of what has eager launches alone, as on a CPU, those are the lines.
  EXPECT_EQ(csv_of({.requests = {{1, 4096, 0}}, .heads = 16, .launch = Launch::kEager}).rows, 1U);
}

TEST(MethodCsvTest, LayersThatShareASelectionAreAnOperatorOfTheirOwn) {
  const auto csv =
      csv_of({.requests = {{1, 4096, 0}}, .heads = 16, .role = model::IndexerRole::kShared});
  EXPECT_NE(csv.text.find(",dsa_context_skip_indexer,"), std::string::npos) << csv.text;
}

TEST(MethodCsvTest, CountsWhatTheFormatCannotSay) {
  const auto ragged = csv_of(
      {.phase = perfdb::Phase::kContext, .requests = {{1, 4096, 0}, {2, 1, 8192}}, .heads = 16});
  EXPECT_EQ(ragged.rows, 0U);
  EXPECT_EQ(ragged.left_out, 1U);
  const auto peaked =
      csv_of({.requests = {{1, 4096, 0}}, .heads = 16, .scores = ScoreDistribution::kPeaked});
  EXPECT_EQ(peaked.rows, 0U) << "one line a point, whatever was measured beside it";
}

}  // namespace
}  // namespace dsaperf::collect
