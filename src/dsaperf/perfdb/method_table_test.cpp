#include "dsaperf/perfdb/method_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::perfdb {
namespace {

using testing::HasSubstr;

const MethodSubject kSubject = {.model = "deepseek-ai/DeepSeek-V3.2",
                                .architecture = "DeepseekV32ForCausalLM",
                                .gemm_dtype = "bfloat16",
                                .heads = 128,
                                .index_heads = 64,
                                .topk = 2048};
const std::string kHeader =
    "framework,version,device,op_name,kernel_source,dsa_dtype,num_heads,index_n_heads,index_topk,"
    "batch_size,isl,tp_size,step,latency\n";

Result<MethodTables> parse(const std::string& rows) {
  return parse_method_csv(kHeader + rows, kSubject);
}

TEST(MethodTableTest, ReadsTheLineThatPractitionersExchange) {
  const auto tables = parse(
      "TRTLLM,1.2.0rc5,NVIDIA H20-3e,dsa_context,default,bfloat16,128,64,2048,1,4096,1,0,40.77\n");
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->framework, "TRTLLM");
  EXPECT_EQ(tables->device, "NVIDIA H20-3e");
  ASSERT_EQ(tables->context.rows.size(), 1U);
  const auto& row = tables->context.rows.front();
  EXPECT_EQ(row.heads, 128);
  EXPECT_EQ(row.new_tokens, 4096);
  EXPECT_EQ(row.past_tokens, 0);
  EXPECT_DOUBLE_EQ(row.latency.value, 40770);
  EXPECT_EQ(tables->context.slices.front().kv_dtype, "bfloat16");
}

TEST(MethodTableTest, ReadsBothSpellingsOfADecodeRow) {
  const auto tables = parse(
      "F,1,D,dsa_generation,k,fp8,16,64,2048,8,4095,8,1,0.2\n"
      "F,1,D,dsa_generation,k,fp8,16,64,2048,8,1,8,8191,0.3\n"
      "F,1,D,gemm,k,fp8,16,64,2048,8,1,8,8191,0.3\n");
  ASSERT_TRUE(tables) << tables.error().message();
  ASSERT_EQ(tables->generation.rows.size(), 2U);
  EXPECT_EQ(tables->generation.rows[0].past_tokens, 4095);
  EXPECT_EQ(tables->generation.rows[1].past_tokens, 8191);
  EXPECT_EQ(tables->generation.rows[0].new_tokens, 1);
  EXPECT_EQ(tables->other_rows, 1U);
}

TEST(MethodTableTest, CachesKernelsAndSharedLayersAreSlices) {
  std::string rows;
  for (const char* slice : {"dsa_context,a,fp8", "dsa_context,b,fp8", "dsa_context,a,bfloat16",
                            "dsa_context_skip_indexer,a,fp8", "dsa_context,a,fp8"}) {
    rows += std::string("F,1,D,") + slice + ",16,64,2048,1," + std::to_string(64 + rows.size()) +
            ",8,0,1\n";
  }
  const auto tables = parse(rows);
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->context.slices.size(), 4U);
  EXPECT_EQ(tables->context.rows[4].slice, tables->context.rows[0].slice);
  EXPECT_TRUE(tables->context.slices[3].shares_selection);
}

TEST(MethodTableTest, LeavesOutRowsThatMeasureNothingAndSaysWhich) {
  const auto tables = parse(
      "F,1,D,dsa_context,k,fp8,16,64,2048,1,64,8,0,0\n"
      "F,1,D,dsa_context,k,fp8,16,64,2048,1,64,8,0,nan\n"
      "F,1,D,dsa_context,k,fp8,16,64,2048,,64,8,0,1.5\n"
      "F,1,D,dsa_context,k,fp8,16,64,2048,1,128,8,0,1.5\n");
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->context.rows.size(), 1U);
  EXPECT_THAT(tables->warnings,
              testing::ElementsAre(HasSubstr("line 2"), HasSubstr("line 3"), HasSubstr("line 4")));
}

TEST(MethodTableTest, ReadsLinesWithoutNamesAboveThem) {
  const auto tables = parse_method_csv(
      "TRTLLM,1.2.0rc5,NVIDIA H20-3e,dsa_context,default,bfloat16,128,64,2048,1,4096,1,0,40.77\r\n"
      "TRTLLM,1.2.0rc5,NVIDIA "
      "H20-3e,dsa_generation,default,bfloat16,128,64,2048,1,4095,1,1,0.5\r\n",
      kSubject);
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->device, "NVIDIA H20-3e");
  ASSERT_EQ(tables->context.rows.size(), 1U);
  ASSERT_EQ(tables->generation.rows.size(), 1U);
  EXPECT_EQ(tables->generation.rows[0].past_tokens, 4095);
  EXPECT_TRUE(tables->warnings.empty());
}

TEST(MethodTableTest, SpacesAroundNamesAndValuesSayNothing) {
  auto header = kHeader;
  for (std::size_t at = 0; (at = header.find(',', at)) != std::string::npos; at += 2) {
    header.replace(at, 1, ", ");
  }
  const auto tables = parse_method_csv(
      header + "VLLM, 0.11, NVIDIA H200 , dsa_context, k, bf16, 16, 64, 2048, 1, 64, 8, 0, 1.5\n",
      kSubject);
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->device, "NVIDIA H200");
  ASSERT_EQ(tables->context.slices.size(), 1U);
  EXPECT_EQ(tables->context.slices[0].kv_dtype, "bfloat16");
  EXPECT_EQ(tables->context.slices[0].kernel_source, "k");
}

TEST(MethodTableTest, FrameworksNamesOfTheCacheAreOne) {
  std::string rows;
  for (const char* dtype : {"fp8", "fp8_e4m3", "float8_e4m3fn", "fp8_ds_mla"}) {
    rows += std::string("F,1,D,dsa_context,k,") + dtype + ",16,64,2048,1," +
            std::to_string(64 + rows.size()) + ",8,0,1\n";
  }
  const auto tables = parse(rows);
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->context.rows.size(), 4U);
  ASSERT_EQ(tables->context.slices.size(), 1U);
  EXPECT_EQ(tables->context.slices[0].kv_dtype, "fp8");
}

TEST(MethodTableTest, OfRepeatedRowsTheLastCountsAndBothLinesAreNamed) {
  const auto tables = parse(
      "F,1,D,dsa_context,k,fp8,16,64,2048,1,64,8,0,1.5\n"
      "F,1,D,dsa_context,k,fp8,16,64,2048,1,128,8,0,2\n"
      "F,1,D,dsa_context,k,fp8,16,64,2048,1,64,8,0,1.25\n");
  ASSERT_TRUE(tables) << tables.error().message();
  ASSERT_EQ(tables->context.rows.size(), 2U);
  EXPECT_DOUBLE_EQ(tables->context.rows[0].latency.millis(), 1.25);
  EXPECT_THAT(
      tables->warnings,
      testing::ElementsAre(HasSubstr("line 4 repeats line 2: 1.25 ms, where there were 1.5")));
}

TEST(MethodTableTest, SaysWhereHeadsAndRanksAreNotTheModels) {
  const auto tables = parse("F,1,D,dsa_context,k,fp8,128,64,2048,1,64,8,0,1.5\n");
  ASSERT_TRUE(tables) << tables.error().message();
  EXPECT_EQ(tables->context.rows[0].heads, 128);
  EXPECT_THAT(tables->warnings, testing::ElementsAre(HasSubstr("in 1 rows")));
}

TEST(MethodTableTest, RefusesRowsOfAnotherModelAndMixedFrameworks) {
  EXPECT_THAT(parse("F,1,D,dsa_context,k,fp8,16,32,2048,1,64,8,0,1\n").error().message(),
              HasSubstr("index_n_heads 32 is not"));
  EXPECT_THAT(parse("F,1,D,dsa_context,k,fp8,48,64,2048,1,64,8,0,1\n").error().message(),
              HasSubstr("48 heads"));
  EXPECT_THAT(parse("F,1,D,dsa_context,k,fp8,16,64,2048,1,64,8,0,1\n"
                    "F,2,D,dsa_context,k,fp8,16,64,2048,1,64,8,0,1\n")
                  .error()
                  .message(),
              HasSubstr("one file, one version"));
  EXPECT_THAT(parse_method_csv("framework,version\n", kSubject).error().message(),
              HasSubstr("'device' is missing"));
}

}  // namespace
}  // namespace dsaperf::perfdb
