#include "dsaperf/serving/estimate_file.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace dsaperf::serving {
namespace {

class EstimateFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto systems = dsaperf::testing::systems_tree();
    if (!systems) GTEST_SKIP() << dsaperf::testing::kNoSystems;
    tree = std::make_shared<const perfdb::SystemsTree>(*perfdb::SystemsTree::open(*systems));
  }
  Result<FileEstimate> read(const std::filesystem::path& path) {
    return estimate_file(path, {}, [&](const std::string& system, Engine engine) {
      return predict::compatible::OperatorSet::open(tree, system, std::string(name(engine)), "");
    });
  }

  // Of a file with these lines.
  Result<FileEstimate> read_lines(const std::string& lines) {
    const std::string test = ::testing::UnitTest::GetInstance()->current_test_info()->name();
    const auto path = std::filesystem::path(::testing::TempDir()) / (test + ".csv");
    std::ofstream(path) << lines;
    return read(path);
  }

  std::shared_ptr<const perfdb::SystemsTree> tree;
};

TEST_F(EstimateFileTest, WhatCannotBeExpressedIsLeftOutByName) {
  const auto result = read_lines(
      "model,precision,gpu,n_gpus,framework,mode,tp,dp,ep,isl,osl,concurrency,note\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1,1,1024,64,4,kept\n"
      "GLM-5,fp8,h200_sxm,8,sglang,disagg 0P+0D,8,1,1,1024,64,4,\n"
      "GLM-5,fp8,\"h200 (maybe)\",8,sglang,agg,8,1,1,1024,64,4,\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1,1,1024,64,many,\n"
      "GLM-9,fp8,h200_sxm,8,sglang,agg,8,1,1,1024,64,4,\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1,1,1024,64,inf(3 at once),\n"
      "GLM-5,fp8,h200_sxm,24,sglang,disagg 2P+1D,8/2,1/4,1/8,1024,64,4,\n");
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_EQ(result->rows.size(), 7U);
  EXPECT_TRUE(result->rows[0].estimated_ttft_ms);
  for (const std::size_t i : {1, 2, 3, 4}) EXPECT_FALSE(result->rows[i].left_out.empty()) << i;
  EXPECT_TRUE(result->rows[5].estimated_ttft_ms);
  const auto& disaggregated = result->rows[6];
  EXPECT_TRUE(disaggregated.estimated_ttft_ms) << disaggregated.left_out;
  EXPECT_EQ(disaggregated.inputs.prefill.count, 2);
  EXPECT_EQ(disaggregated.inputs.decode.layout.text(), "tp2pp1dp4etp1ep8");
  EXPECT_THAT(result->csv, ::testing::HasSubstr("kept"));
  EXPECT_THAT(result->csv, ::testing::HasSubstr("estimated_error"));
}

TEST_F(EstimateFileTest, OlderVllmHadAnotherMemoryFractionAndAttention) {
  const auto result = read_lines(
      "model,precision,gpu,n_gpus,framework,version,mode,tp,isl,osl,concurrency\n"
      "GLM-5,fp8,h200_sxm,8,vllm,0.13.0,agg,8,1024,64,4\n"
      "GLM-5,fp8,h200_sxm,8,vllm,nightly-2026-02-13,agg,8,1024,64,4\n"
      "GLM-5,fp8,h200_sxm,8,vllm,0.24.0,agg,8,1024,64,4\n"
      "GLM-5,fp8,h200_sxm,8,vllm,,agg,8,1024,64,4\n"
      "GLM-5,fp8,h200_sxm,8,vllm,0.21.0,agg,8,1024,64,4\n"
      "GLM-5,fp8,h200_sxm,8,sglang,0.5.6,agg,8,1024,64,4\n");
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_EQ(result->rows.size(), 6U);
  EXPECT_EQ(result->rows[0].inputs.memory_fraction, 0.9);
  EXPECT_EQ(result->rows[1].inputs.memory_fraction, 0.9);
  for (const std::size_t i : {2, 3, 4, 5})
    EXPECT_FALSE(result->rows[i].inputs.memory_fraction) << i;
  for (const std::size_t i : {0, 1, 4})
    EXPECT_EQ(result->rows[i].inputs.age, EngineAge::kOlder) << i;
  for (const std::size_t i : {2, 3, 5})
    EXPECT_EQ(result->rows[i].inputs.age, EngineAge::kOfTables) << i;
}

TEST_F(EstimateFileTest, SomeSourcesHadEqualLengths) {
  const auto result = read_lines(
      "model,precision,gpu,n_gpus,framework,mode,tp,isl,osl,concurrency,source\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1024,64,4,InferenceX@0:a\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1024,64,4,gpustack@0:a\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1024,64,4,Jiminator/sglang@0:a\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,1024,64,4,AIC-silicon:a\n");
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_EQ(result->rows.size(), 4U);
  for (const std::size_t i : {0, 1, 2}) EXPECT_EQ(result->rows[i].inputs.length_ratio, 1) << i;
  EXPECT_FALSE(result->rows[3].inputs.length_ratio);
}

// 80 of 160 prompts of 16 at a time are those of 8 at a time.
TEST_F(EstimateFileTest, RunsOfAClientRepeatThePromptsOfTheOneBefore) {
  const auto result = read_lines(
      "model,precision,gpu,n_gpus,framework,mode,tp,isl,osl,concurrency,source\n"
      "GLM-5,fp8,h200_sxm,8,vllm,agg,8,2048,128,16,InferenceX@0:a\n"
      "GLM-5,fp8,h200_sxm,8,vllm,agg,8,2048,128,16,somebody\n"
      "GLM-5,fp8,h200_sxm,8,vllm,agg,8,2048,128,4,InferenceX@0:a\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,2048,128,16,InferenceX@0:a\n");
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_EQ(result->rows.size(), 4U);
  EXPECT_EQ(result->rows[0].inputs.repeated_prompts, 80);
  for (const std::size_t i : {1, 2, 3}) EXPECT_FALSE(result->rows[i].inputs.repeated_prompts) << i;
  EXPECT_THAT(
      result->rows[0].assumed,
      ::testing::ElementsAre("equal lengths",
                             "prompts of the run before, 8 at a time, cached if they all fit"));
  EXPECT_THAT(result->rows[1].assumed, ::testing::IsEmpty());
}

TEST_F(EstimateFileTest, WhatARowSaysOfItsRequestsGoesBeforeItsSource) {
  const auto result = read_lines(
      "model,precision,gpu,n_gpus,framework,mode,tp,isl,osl,concurrency,length_ratio,"
      "repeated_prompts,source\n"
      "GLM-5,fp8,h200_sxm,8,vllm,agg,8,2048,128,16,0.5,0,InferenceX@0:a\n"
      "GLM-5,fp8,h200_sxm,8,vllm,agg,8,2048,128,16,,40,InferenceX@0:a\n"
      "GLM-5,fp8,h200_sxm,8,sglang,agg,8,2048,128,16,1,80,somebody\n");
  ASSERT_TRUE(result) << result.error().message();
  ASSERT_EQ(result->rows.size(), 3U);
  const auto& rows = result->rows;
  EXPECT_EQ(rows[0].inputs.length_ratio, 0.5);
  EXPECT_EQ(rows[0].inputs.repeated_prompts, 0);
  EXPECT_THAT(rows[0].assumed, ::testing::IsEmpty());
  EXPECT_EQ(rows[1].inputs.length_ratio, 1);
  EXPECT_EQ(rows[1].inputs.repeated_prompts, 40);
  EXPECT_THAT(rows[1].assumed, ::testing::ElementsAre("equal lengths"));
  EXPECT_EQ(rows[2].inputs.length_ratio, 1);
  EXPECT_EQ(rows[2].inputs.repeated_prompts, 80);
  EXPECT_THAT(rows[2].assumed, ::testing::IsEmpty());
  for (const auto& row : rows) EXPECT_TRUE(row.estimated_ttft_ms) << row.left_out;
}

TEST_F(EstimateFileTest, ABadValueOfARequestsColumnIsNamedByLine) {
  const auto message = [&](const std::string& values) {
    const auto result = read_lines(
        "model,precision,gpu,n_gpus,framework,mode,tp,isl,osl,concurrency,length_ratio,"
        "repeated_prompts\n"
        "GLM-5,fp8,h200_sxm,8,vllm,agg,8,128,8,1,,\n"
        "GLM-5,fp8,h200_sxm,8,vllm,agg,8,128,8,1," +
        values + "\n");
    return result ? "read" : result.error().message();
  };
  for (const char* ratio : {"0", "1.5", "nan", "equal"})
    EXPECT_THAT(message(std::string(ratio) + ","),
                ::testing::HasSubstr(std::string(".csv:3: length_ratio '") + ratio +
                                     "': a number from 0.01 to 1 is due, or nothing"));
  for (const char* repeated : {"-1", "2.5", "all", "99999999999"})
    EXPECT_THAT(message(std::string(",") + repeated),
                ::testing::HasSubstr(std::string(".csv:3: repeated_prompts '") + repeated +
                                     "': a whole number from 0 to 1048576 is due, or nothing"));
}

// GLM-5 by a nightly of vLLM on H200, medians of equal requests.
TEST_F(EstimateFileTest, IsNearVllmsDeployments) {
  const auto measured = dsaperf::testing::fixture("serving/silicon_dsa_train.csv");
  if (!measured) GTEST_SKIP() << dsaperf::testing::kNoFixtures;
  const auto result = read(*measured);
  ASSERT_TRUE(result) << result.error().message();
  int n = 0;
  double ttft = 0;
  double tpot = 0;
  for (const MeasuredRow& row : result->rows) {
    if (row.inputs.engine != Engine::kVllm || row.model != "GLM-5") continue;
    ASSERT_TRUE(row.estimated_ttft_ms && row.estimated_tpot_ms) << row.left_out;
    ++n;
    ttft += std::abs(*row.estimated_ttft_ms / *row.ttft_ms - 1);
    tpot += std::abs(*row.estimated_tpot_ms / *row.tpot_ms - 1);
  }
  ASSERT_EQ(n, 26);
  EXPECT_LT(ttft / n, 0.10);
  EXPECT_LT(tpot / n, 0.05);
}

// The bar of the contract: better than the peer on both, overall, on H200 and on Blackwell; and
// what it aims at.
TEST_F(EstimateFileTest, IsNearerToMeasuredDeploymentsThanThePeer) {
  const auto measured = dsaperf::testing::fixture("serving/silicon_dsa_train.csv");
  const auto peer_file = dsaperf::testing::fixture("serving/peer_aiconfigurator_0.12.csv");
  if (!measured || !peer_file) GTEST_SKIP() << dsaperf::testing::kNoFixtures;
  const auto result = read(*measured);
  ASSERT_TRUE(result) << result.error().message();

  struct Sums {
    int n = 0;
    double ours_ttft = 0, ours_tpot = 0, peer_ttft = 0, peer_tpot = 0;
  };
  std::map<std::string, Sums> groups;
  auto csv = CsvReader::open(*peer_file);
  ASSERT_TRUE(csv && csv->next());
  while (*csv->next()) {
    const auto number = [&](std::size_t column) { return *parse_double(csv->field(column)); };
    for (const MeasuredRow& row : result->rows) {
      if (!row.source.ends_with(csv->field(0))) continue;
      ASSERT_TRUE(row.estimated_ttft_ms) << row.left_out;
      for (const std::string group : {"all", row.gpu == "h200_sxm" ? "hopper" : "blackwell"}) {
        Sums& sums = groups[group];
        ++sums.n;
        sums.ours_ttft += std::abs(*row.estimated_ttft_ms / number(6) - 1);
        sums.ours_tpot += std::abs(*row.estimated_tpot_ms / number(7) - 1);
        sums.peer_ttft += std::abs(number(8) / number(6) - 1);
        sums.peer_tpot += std::abs(number(9) / number(7) - 1);
      }
    }
  }
  EXPECT_EQ(groups["all"].n, 26);
  EXPECT_LT(groups["all"].ours_ttft / 26, 0.15);
  EXPECT_LT(groups["all"].ours_tpot / 26, 0.08);
  for (const auto& [group, sums] : groups) {
    EXPECT_LT(sums.ours_ttft, sums.peer_ttft) << group;
    EXPECT_LT(sums.ours_tpot, sums.peer_tpot) << group;
  }
}

TEST(BundledNameTest, PrecisionPicksTheCheckpoint) {
  EXPECT_EQ(bundled_name("GLM-5", "fp8").value_or(""), "zai-org/GLM-5-FP8");
  EXPECT_EQ(bundled_name("GLM-5", "fp4").value_or(""), "nvidia/GLM-5-NVFP4");
  EXPECT_EQ(bundled_name("DeepSeek-V3.2-Exp", "fp8").value_or(""), "deepseek-ai/DeepSeek-V3.2");
  EXPECT_FALSE(bundled_name("GLM-9", "fp8"));
}

}  // namespace
}  // namespace dsaperf::serving
