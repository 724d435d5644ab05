#include "dsaperf/perfdb/columns.hpp"

#include "dsaperf/core/testing/fixtures.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>

namespace dsaperf::perfdb {
namespace {

constexpr std::array<ColumnRequest, 2> kAsked = {
    {{"kernel_source", ColumnType::kText, false}, {"latency", ColumnType::kReal, false}}};

std::filesystem::path file_with(const std::string& name, const std::string& content) {
  const auto path = std::filesystem::path(::testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(ColumnsTest, NamesAGitLfsPointer) {
  const auto path =
      file_with("pointer.parquet", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n");
  const auto read = read_columns(path, kAsked);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(), ::testing::HasSubstr("git-lfs"));
}

TEST(ColumnsTest, RefusesAFileThatIsCut) {
  const auto read = read_columns(file_with("cut.parquet", "PAR1 and then nothing"), kAsked);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code(), Errc::kParse);
  EXPECT_THAT(read.error().message(), ::testing::HasSubstr("cut.parquet"));
}

TEST(ColumnsTest, NamesAMissingColumnAndWhatThereIs) {
  const auto tree = dsaperf::testing::systems_tree();
  if (!tree) GTEST_SKIP() << dsaperf::testing::kNoSystems;
  const auto path =
      *tree / "data/h200_sxm/sparse_attention/sglang/0.5.14/dsa_generation_module_perf.parquet";
  const std::array<ColumnRequest, 1> asked = {{{"speed", ColumnType::kReal, false}}};
  const auto read = read_columns(path, asked);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(),
              ::testing::HasSubstr("'speed' is missing (have: framework, version"));
  const std::array<ColumnRequest, 1> wrong = {{{"latency", ColumnType::kInt, false}}};
  EXPECT_THAT(read_columns(path, wrong).error().message(),
              ::testing::HasSubstr("has type DOUBLE, due INT64"));
}

TEST(ColumnsTest, LeavesAnAbsentOptionalColumnOut) {
  const auto tree = dsaperf::testing::systems_tree();
  if (!tree) GTEST_SKIP() << dsaperf::testing::kNoSystems;
  const auto path =
      *tree / "data/h200_sxm/sparse_attention/sglang/0.5.14/dsa_generation_module_perf.parquet";
  const std::array<ColumnRequest, 2> asked = {
      {{"speed", ColumnType::kReal, true}, {"op_name", ColumnType::kText, false}}};
  const auto read = read_columns(path, asked);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_FALSE((*read)[0].present);
  EXPECT_EQ(read->rows, 6016U);
  EXPECT_EQ((*read)[1].codes.size(), read->rows);
  EXPECT_THAT((*read)[1].values,
              ::testing::UnorderedElementsAre("dsa_generation_module",
                                              "dsa_generation_module_skip_indexer"));
}

TEST(ColumnsTest, WhatIsWrittenReadsBack) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "written.parquet";
  const std::vector<NewColumn> columns = {
      {.name = "kernel_source", .type = ColumnType::kText, .texts = {"a", "b", "a"}},
      {.name = "heads", .type = ColumnType::kInt, .ints = {8, 16, 1 << 30}},
      {.name = "latency", .type = ColumnType::kReal, .reals = {0.1, 1e-300, 12345.678}}};
  const auto written = write_columns(path, columns, {{"format", "test.1"}});
  ASSERT_TRUE(written) << written.error().message();
  const std::array<ColumnRequest, 3> asked = {{{"latency", ColumnType::kReal, false},
                                               {"heads", ColumnType::kInt, false},
                                               {"kernel_source", ColumnType::kText, false}}};
  const auto read = read_columns(path, asked);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_THAT((*read)[0].reals, ::testing::ElementsAre(0.1, 1e-300, 12345.678));
  EXPECT_THAT((*read)[1].ints, ::testing::ElementsAre(8, 16, 1 << 30));
  EXPECT_THAT((*read)[2].codes, ::testing::ElementsAre(0, 1, 0));
}

TEST(ColumnsTest, ColumnsOfDifferentLengthAreNotWritten) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "ragged.parquet";
  std::filesystem::remove(path);
  const std::vector<NewColumn> columns = {{.name = "a", .type = ColumnType::kInt, .ints = {1, 2}},
                                          {.name = "b", .type = ColumnType::kInt, .ints = {1}}};
  const auto written = write_columns(path, columns, {});
  ASSERT_FALSE(written);
  EXPECT_THAT(written.error().message(), ::testing::HasSubstr("'b' has 1 rows, 'a' 2"));
  EXPECT_FALSE(std::filesystem::exists(path));
}

}  // namespace
}  // namespace dsaperf::perfdb
