#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf {

// Rows of a comma-separated file, plain or gzip, one at a time.
//
// As foreign tools write it: a byte-order mark and CRLF are dropped, rows may be ragged, blank
// lines are skipped, a quoted field may hold commas, newlines and doubled quotes, and a quote in
// the middle of an unquoted field is a character. Spaces around a field belong to it.
//
//   DSAPERF_TRY_ASSIGN(auto csv, CsvReader::open(path));
//   while (true) {
//     DSAPERF_TRY_ASSIGN(const bool more, csv.next());
//     if (!more) break;
//     use(csv.fields(), csv.line());
//   }
class CsvReader {
 public:
  static Result<CsvReader> open(const std::filesystem::path& path);
  // `text` must outlive the reader.
  static Result<CsvReader> over(std::string_view text);

  CsvReader(CsvReader&&) noexcept;
  CsvReader& operator=(CsvReader&&) noexcept;
  ~CsvReader();

  // Steps to the next row; false at the end. Fails with kParse where a quoted field is still open
  // at the end of the file, as in a file that was cut, and where the compressed data is damaged.
  Result<bool> next();

  // The row's fields, unquoted; valid until the next call of next().
  const std::vector<std::string_view>& fields() const;
  // The field, or "" where the row is shorter.
  std::string_view field(std::size_t index) const;
  // Line of the file on which the row starts, from 1.
  std::size_t line() const;

  struct State;

 private:
  explicit CsvReader(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// Position of a column in a header row; empty where it is not there.
std::optional<std::size_t> find_column(const std::vector<std::string_view>& header,
                                       std::string_view name);

// The whole text as a number, spaces around it apart; independent of the locale. Empty for anything
// else, "1,5" and "" included. Infinity and NaN are read as Python writes them (inf, nan).
std::optional<double> parse_double(std::string_view text);
std::optional<std::int64_t> parse_int(std::string_view text);

// The shortest text that reads back as the same double: "0.1", "42", "1e-07".
std::string format_double(double value);

// Builds comma-separated text, "\n" after each row. A field is quoted where it must be: a comma, a
// quote, a newline, or spaces at its ends.
class CsvWriter {
 public:
  CsvWriter& field(std::string_view text);
  CsvWriter& field(double value);  // see format_double
  CsvWriter& field(std::int64_t value);
  CsvWriter& field(int value) { return field(std::int64_t{value}); }
  CsvWriter& field(const char* text) { return field(std::string_view(text)); }
  void end_row();

  const std::string& text() const { return text_; }

 private:
  void separate();

  std::string text_;
  std::size_t row_begin_ = 0;
  bool in_row_ = false;
};

}  // namespace dsaperf
