#include "dsaperf/core/csv.hpp"

#include "dsaperf/core/gzip.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace dsaperf {
namespace {

using testing::ElementsAre;
using Rows = std::vector<std::vector<std::string>>;

struct Read {
  Rows rows;
  std::vector<std::size_t> lines;
  std::string error;
};

Read read(std::string_view text) {
  Read result;
  auto csv = CsvReader::over(text).value();
  while (true) {
    const auto more = csv.next();
    if (!more) result.error = more.error().message();
    if (!more || !*more) return result;
    result.rows.emplace_back(csv.fields().begin(), csv.fields().end());
    result.lines.push_back(csv.line());
  }
}

TEST(CsvReaderTest, QuotedFieldsHoldCommasQuotesAndNewlines) {
  EXPECT_EQ(read("a,\"f<int, 2>(\"\"x\"\")\",c\n\"two\nlines\",d\n").rows,
            (Rows{{"a", "f<int, 2>(\"x\")", "c"}, {"two\nlines", "d"}}));
}

TEST(CsvReaderTest, ByteOrderMarkAndCrLfAreDropped) {
  EXPECT_EQ(read("\xef\xbb\xbf"
                 "a,b\r\n1,2\r\n")
                .rows,
            (Rows{{"a", "b"}, {"1", "2"}}));
}

TEST(CsvReaderTest, RowsMayBeRaggedAndFieldsEmpty) {
  EXPECT_EQ(read("a,b,c\n1\n,,\n").rows, (Rows{{"a", "b", "c"}, {"1"}, {"", "", ""}}));
}

TEST(CsvReaderTest, LastLineNeedsNoNewline) {
  EXPECT_EQ(read("a,b\n1,2").rows, (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read("a,b\n1,").rows, (Rows{{"a", "b"}, {"1", ""}}));
  EXPECT_EQ(read("").rows, Rows{});
}

TEST(CsvReaderTest, SpacesBelongToTheField) {
  EXPECT_EQ(read(" a , b\n").rows, (Rows{{" a ", " b"}}));
}

TEST(CsvReaderTest, QuoteInAnUnquotedFieldIsACharacter) {
  EXPECT_EQ(read("5\" disk,x\n").rows, (Rows{{"5\" disk", "x"}}));
}

TEST(CsvReaderTest, LinesCountBlankLinesAndLinesInsideQuotes) {
  EXPECT_THAT(read("a\n\n\nb\n\"c\nd\"\ne\n").lines, ElementsAre(1, 4, 5, 7));
}

TEST(CsvReaderTest, AnOpenQuoteAtTheEndIsAnErrorAfterTheWholeRows) {
  const auto result = read("a,b\n1,2\n3,\"cut in the mid");
  EXPECT_EQ(result.rows, (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_THAT(result.error, testing::StartsWith("line 3: a quoted field is not closed"));
}

TEST(CsvReaderTest, ReadsGzipAndRowsLongerThanAChunk) {
  const std::string field(200000, 'x');
  const std::string packed = gzip("a," + field + "\nb,c\n");
  EXPECT_EQ(read(packed).rows, (Rows{{"a", field}, {"b", "c"}}));
}

TEST(CsvReaderTest, FieldBeyondTheRowIsEmpty) {
  auto csv = CsvReader::over("a,b\n").value();
  ASSERT_TRUE(csv.next().value());
  EXPECT_EQ(csv.field(1), "b");
  EXPECT_EQ(csv.field(2), "");
  EXPECT_EQ(find_column(csv.fields(), "b"), 1U);
  EXPECT_EQ(find_column(csv.fields(), "c"), std::nullopt);
}

TEST(CsvReaderTest, ErrorsNameTheFile) {
  const auto missing = CsvReader::open("/nonexistent/a.csv");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().message(), "/nonexistent/a.csv: No such file or directory");
}

TEST(CsvNumberTest, TakesTheWholeTextOrNothing) {
  EXPECT_EQ(parse_double(" 1.5e3 "), 1500);
  EXPECT_EQ(parse_double("+2"), 2);
  EXPECT_EQ(parse_int("-7"), -7);
  for (const char* bad : {"", " ", "1,5", "1.5x", "+-1", "0x10", "--"}) {
    EXPECT_EQ(parse_double(bad), std::nullopt) << bad;
    EXPECT_EQ(parse_int(bad), std::nullopt) << bad;
  }
  EXPECT_EQ(parse_int("99999999999999999999"), std::nullopt);
}

TEST(CsvNumberTest, DoublesRoundTrip) {
  std::mt19937_64 random(20261124);
  std::uniform_real_distribution<double> mantissa(-1, 1);
  std::uniform_int_distribution<int> exponent(-300, 300);
  for (int i = 0; i < 1000; ++i) {
    const double value = std::ldexp(mantissa(random), exponent(random));
    EXPECT_EQ(parse_double(format_double(value)), value);
  }
  EXPECT_EQ(format_double(0.1), "0.1");
  EXPECT_EQ(format_double(42), "42");
  EXPECT_EQ(format_double(std::numeric_limits<double>::infinity()), "inf");
}

TEST(CsvWriterTest, QuotesOnlyWhereNeeded) {
  CsvWriter writer;
  writer.field("plain").field("a,b").field("say \"x\"").field(" spaced").field("").end_row();
  writer.field(0.1).field(std::int64_t{7}).field("two\nlines").end_row();
  EXPECT_EQ(writer.text(), "plain,\"a,b\",\"say \"\"x\"\"\",\" spaced\",\n0.1,7,\"two\nlines\"\n");
}

TEST(CsvWriterTest, WhatItWritesReadsBack) {
  const Rows rows = {{""}, {"a,\"b\"", "", "x\r\ny"}, {" ", "\"", ",,"}};
  CsvWriter writer;
  for (const auto& row : rows) {
    for (const auto& field : row) writer.field(field);
    writer.end_row();
  }
  EXPECT_EQ(read(writer.text()).rows, rows);
}

}  // namespace
}  // namespace dsaperf
