#include "dsaperf/report/lint.hpp"

#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/perfdb/columns.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <vector>

namespace dsaperf::report {
namespace {

perfdb::DsaSlice v32_slice() {
  return {.model = "deepseek-ai/DeepSeek-V3.2",
          .architecture = "DeepseekV32ForCausalLM",
          .mla_dtype = "bfloat16",
          .kv_dtype = "bfloat16",
          .gemm_dtype = "fp8_block",
          .op_name = {},
          .kernel_source = {},
          .shares_selection = false};
}

// One new token after 2047 is attended to over latent rows as well, which moves less than keys and
// values expanded from all rows do; a long prompt from nothing is cheaper with expanded ones.
TEST(LintPhysicsTest, TheBoundOfAShortPromptHoldsHoweverItIsAttendedTo) {
  const auto system = cost::find_system(DSAPERF_SOURCE_DIR "/data", "h200_sxm");
  ASSERT_TRUE(system) << system.error().message();
  const auto bound = lint_physics(*system).bound;
  const auto of = [&](perfdb::Phase phase, std::int32_t new_tokens, std::int32_t past_tokens) {
    perfdb::DsaRow row;
    row.heads = 128;
    row.batch = 1;
    row.new_tokens = new_tokens;
    row.past_tokens = past_tokens;
    return bound(v32_slice(), phase, row);
  };
  using enum perfdb::Phase;
  EXPECT_EQ(of(kContext, 1, 2047), of(kGeneration, 1, 2047));
  EXPECT_LT(of(kContext, 2048, 0), of(kGeneration, 2048, 0));
}

// A Parquet file of another program beside tables stopped all of them from being checked.
TEST(LintTablesTest, LeavesOutOtherProgramsFilesBesideTables) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "lint_beside";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  const std::vector<perfdb::NewColumn> columns = {
      {.name = "loss", .type = perfdb::ColumnType::kReal, .reals = {1, 2}}};
  const auto foreign = folder / "training.parquet";
  ASSERT_TRUE(perfdb::write_columns(foreign, columns, {}));
  const auto alone = lint_tables(folder);
  ASSERT_FALSE(alone);
  EXPECT_THAT(alone.error().message(), ::testing::HasSubstr("none of them a table"));
  EXPECT_FALSE(lint_tables(foreign)) << "what is named is to be a table";

  const auto table = folder / "glm5-bf16.parquet";
  std::filesystem::copy_file(DSAPERF_SOURCE_DIR "/data/tables/h200_sxm/glm5-bf16.parquet", table);
  const auto linted = lint_tables(folder);
  ASSERT_TRUE(linted) << linted.error().message();
  EXPECT_EQ(linted->tables.size(), 2U);  // prefill and decode
  EXPECT_THAT(linted->left_out, ::testing::ElementsAre(foreign));

  std::ofstream(folder / "cut.parquet") << "PAR1";
  const auto cut = lint_tables(folder);
  ASSERT_FALSE(cut) << "a damaged file may be one of ours";
  EXPECT_THAT(cut.error().message(), ::testing::HasSubstr("cut.parquet"));
}

}  // namespace
}  // namespace dsaperf::report
