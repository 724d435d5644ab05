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

TEST(ColumnsTest, OnlyRowsThatPassAllFiltersAreRead) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "filtered.parquet";
  const std::vector<NewColumn> columns = {
      {.name = "kernel_source", .type = ColumnType::kText, .texts = {"a", "b", "a", "b", "b"}},
      {.name = "model", .type = ColumnType::kText, .texts = {"x", "x", "y", "y", "z"}},
      {.name = "heads", .type = ColumnType::kInt, .ints = {8, 8, 8, 16, 8}},
      {.name = "latency", .type = ColumnType::kReal, .reals = {1, 2, 3, 4, 5}}};
  ASSERT_TRUE(write_columns(path, columns, {{"format", "test.1"}}));
  const std::array<ColumnRequest, 4> asked = {{{"latency", ColumnType::kReal, false},
                                               {"heads", ColumnType::kInt, false},
                                               {"kernel_source", ColumnType::kText, true},
                                               {"model", ColumnType::kText, false}}};
  const std::array<RowFilter, 2> filters = {
      {{.column = 1, .number = 8}, {.column = 2, .text = "b"}}};
  const auto read = read_columns(path, asked, filters);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->rows, 2U);
  EXPECT_THAT((*read)[0].reals, ::testing::ElementsAre(2, 5));
  EXPECT_THAT((*read)[1].ints, ::testing::ElementsAre(8, 8));
  EXPECT_THAT((*read)[2].values, ::testing::ElementsAre("b"));
  EXPECT_THAT((*read)[2].codes, ::testing::ElementsAre(0, 0));
  EXPECT_THAT((*read)[3].values, ::testing::ElementsAre("x", "z"));
  EXPECT_THAT((*read)[3].codes, ::testing::ElementsAre(0, 1));
  EXPECT_EQ(read->row_number(1), 5U);
  EXPECT_EQ(read->metadata.at("format"), "test.1");

  const std::array<RowFilter, 1> of_none = {{{.column = 2, .text = "c"}}};
  const auto none = read_columns(path, asked, of_none);
  ASSERT_TRUE(none) << none.error().message();
  EXPECT_EQ(none->rows, 0U);
  EXPECT_TRUE((*none)[0].present);
  EXPECT_TRUE((*none)[0].reals.empty());
}

TEST(ColumnsTest, AColumnThatIsFilteredByMustBeThere) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "no_model.parquet";
  const std::vector<NewColumn> columns = {{.name = "heads", .type = ColumnType::kInt, .ints = {8}}};
  ASSERT_TRUE(write_columns(path, columns, {}));
  const std::array<ColumnRequest, 1> asked = {{{"model", ColumnType::kText, true}}};
  EXPECT_TRUE(read_columns(path, asked));
  const std::array<RowFilter, 1> filters = {{{.column = 0, .text = "x"}}};
  const auto read = read_columns(path, asked, filters);
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(), ::testing::HasSubstr("'model' is missing (have: heads)"));
}

// Of so many values a writer makes no dictionary, or gives it up on the way.
TEST(ColumnsTest, ColumnsWithoutADictionaryAreReadAlike) {
  constexpr std::size_t kRows = 200'000;
  NewColumn text{.name = "kernel_source", .type = ColumnType::kText};
  NewColumn number{.name = "heads", .type = ColumnType::kInt};
  NewColumn real{.name = "latency", .type = ColumnType::kReal};
  for (std::size_t i = 0; i < kRows; ++i) {
    text.texts.push_back("kernel " + std::to_string(i));
    number.ints.push_back(static_cast<std::int64_t>(i) * 3);
    real.reals.push_back(static_cast<double>(i) / 7);
  }
  const auto path = std::filesystem::path(::testing::TempDir()) / "distinct.parquet";
  const std::vector<NewColumn> columns = {text, number, real};
  ASSERT_TRUE(write_columns(path, columns, {}));
  const std::array<ColumnRequest, 3> asked = {{{"kernel_source", ColumnType::kText, false},
                                               {"heads", ColumnType::kInt, false},
                                               {"latency", ColumnType::kReal, false}}};
  const auto read = read_columns(path, asked);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ((*read)[0].values, text.texts);
  EXPECT_EQ((*read)[1].ints, number.ints);
  EXPECT_EQ((*read)[2].reals, real.reals);
  const std::array<RowFilter, 2> filters = {
      {{.column = 1, .number = 3 * 199'999}, {.column = 0, .text = "kernel 199999"}}};
  const auto last = read_columns(path, asked, filters);
  ASSERT_TRUE(last) << last.error().message();
  EXPECT_THAT((*last)[2].reals, ::testing::ElementsAre(real.reals.back()));
  EXPECT_EQ(last->row_number(0), kRows);
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
