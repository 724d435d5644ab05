#include "dsaperf/predict/query_file.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/gzip.hpp"
#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

namespace dsaperf::predict {
namespace {

namespace fs = std::filesystem;

class QueryFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto root = dsaperf::testing::systems_tree();
    if (!root) GTEST_SKIP() << dsaperf::testing::kNoSystems;
    predictor.emplace(
        std::make_shared<const perfdb::SystemsTree>(*perfdb::SystemsTree::open(*root)),
        Method::kCompatible);
  }
  // The output for an input of this text.
  std::string answer(const std::string& text, const std::string& output = "out.csv") {
    const auto folder = fs::path(::testing::TempDir());
    std::ofstream(folder / "in.csv") << text;
    const auto summary = answer_file(folder / "in.csv", folder / output, *predictor);
    if (!summary) return summary.error().message();
    return read_maybe_gzip(folder / output).value();
  }
  std::optional<LayerPredictor> predictor;
};

constexpr const char* kHeader =
    "note,system,backend,version,architecture,phase,num_heads_local,kv_cache_dtype,gemm_dtype,"
    "batch,"
    "new_tokens_or_seq,prefix\n";

TEST_F(QueryFileTest, PassesColumnsThroughAndKeepsTheOrderOfRows) {
  const auto text =
      answer(std::string(kHeader) +
             "\"a, b\",h200_sxm,sglang,,DeepseekV32ForCausalLM,context,16,fp8,fp8_block,1,8192,0\n"
             "second,h200_sxm,sglang,current,DeepseekV32ForCausalLM,generation,16,fp8,fp8_block,16,"
             "5000,0\n");
  auto csv = CsvReader::over(text);
  ASSERT_TRUE(*csv->next());
  EXPECT_EQ(csv->fields().size(), 12U + 5U);
  ASSERT_TRUE(*csv->next());
  EXPECT_EQ(csv->field(0), "a, b");
  EXPECT_EQ(csv->field(12), "8.0548");
  EXPECT_EQ(csv->field(15), "measured");
  ASSERT_TRUE(*csv->next());
  EXPECT_EQ(csv->field(0), "second");
  EXPECT_EQ(csv->field(15), "interpolated");
}

TEST_F(QueryFileTest, ARowThatFailsSaysWhyAndHasNoNumber) {
  const auto text =
      answer(std::string(kHeader) +
             "1,h200_sxm,trtllm,next,DeepseekV32ForCausalLM,context,16,fp8,fp8_block,1,8192,0\n"
             "2,h200_sxm,sglang,,DeepseekV32ForCausalLM,context,16,fp8,fp8_block,many,8192,0\n"
             "3,h200_sxm,sglang,0.5.10,DeepseekV32ForCausalLM,context,16,fp8,fp8_block,1,8192,0\n");
  EXPECT_THAT(text,
              ::testing::HasSubstr(
                  "1,h200_sxm,trtllm,next,DeepseekV32ForCausalLM,context,16,fp8,fp8_block,1,8192,0,"
                  ",,,,"));
  EXPECT_THAT(text, ::testing::HasSubstr("batch 'many' is no count"));
  EXPECT_THAT(text, ::testing::HasSubstr("version '0.5.10' is not offered"));
}

TEST_F(QueryFileTest, NamesAMissingColumn) {
  EXPECT_THAT(answer("system,backend\nh200_sxm,sglang\n"),
              ::testing::HasSubstr("in.csv: line 1: no column architecture, phase"));
}

TEST_F(QueryFileTest, NamesACutFileOnce) {
  const auto error = answer(std::string(kHeader) + "\"not closed");
  const auto path = (fs::path(::testing::TempDir()) / "in.csv").native();
  EXPECT_THAT(error, ::testing::StartsWith(path + ": line 2: "));
}

TEST_F(QueryFileTest, CompressesAnOutputNamedGz) {
  answer(kHeader, "out.csv.gz");
  std::ifstream file(fs::path(::testing::TempDir()) / "out.csv.gz", std::ios::binary);
  EXPECT_EQ(file.get(), 0x1f);
  EXPECT_EQ(file.get(), 0x8b);
}

}  // namespace
}  // namespace dsaperf::predict
