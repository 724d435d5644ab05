#include "dsaperf/core/csv_numbers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <fstream>

namespace dsaperf {
namespace {

constexpr std::array<std::string_view, 1> kWords = {"of"};
constexpr std::array<std::string_view, 2> kNumbers = {"b", "a"};

Result<std::vector<NumberRow>> read(const std::string& text) {
  const auto path = std::filesystem::path(::testing::TempDir()) / "numbers.csv";
  std::ofstream(path) << text;
  return read_number_rows(path, kWords, kNumbers);
}

TEST(CsvNumbersTest, ColumnsAreFoundByName) {
  const auto rows = read("a,of,note,b\n1,x,why,2\n3,,,4e-1\n");
  ASSERT_TRUE(rows) << rows.error().message();
  ASSERT_EQ(rows->size(), 2U);
  EXPECT_THAT((*rows)[0].words, ::testing::ElementsAre("x"));
  EXPECT_THAT((*rows)[0].numbers, ::testing::ElementsAre(2, 1));
  EXPECT_THAT((*rows)[1].numbers, ::testing::ElementsAre(0.4, 3));
  EXPECT_EQ((*rows)[1].line, 3U);
}

TEST(CsvNumbersTest, WhatIsMissingOrNoNumberIsNamed) {
  EXPECT_THAT(read("a,of\n1,x\n").error().message(), ::testing::HasSubstr("no column 'b'"));
  EXPECT_THAT(read("").error().message(), ::testing::HasSubstr("no column 'of'"));
  EXPECT_THAT(read("a,b,of\n1,two,x\n").error().message(),
              ::testing::HasSubstr(":2: b 'two' is no number"));
}

}  // namespace
}  // namespace dsaperf
