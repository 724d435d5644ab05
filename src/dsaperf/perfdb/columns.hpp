#pragma once

#include "dsaperf/core/error.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

enum class ColumnType {
  kText,  // BYTE_ARRAY
  kInt,   // INT64
  kReal,  // DOUBLE
};

struct ColumnRequest {
  std::string_view name;
  ColumnType type = ColumnType::kReal;
  bool optional = false;  // absent from the file: the column comes back with present = false
};

// Rows that are wanted: those with this value in a column that is asked for and must be there.
struct RowFilter {
  std::size_t column = 0;      // index of its request
  std::string_view text = {};  // of a column of text
  std::int64_t number = 0;     // of a column of integers
};

// One column of a table. Text is interned: codes index `values`, which are distinct and in
// the order of first appearance.
struct Column {
  bool present = false;
  std::vector<std::string> values;
  std::vector<std::int32_t> codes;
  std::vector<std::int64_t> ints;
  std::vector<double> reals;
};

// The asked columns of a file, in the order asked.
struct Columns {
  std::size_t rows = 0;
  std::vector<Column> columns;
  std::vector<std::size_t> row_of;              // of each row in the file; empty: all are here
  std::map<std::string, std::string> metadata;  // the file's key and value pairs

  const Column& operator[](std::size_t index) const { return columns[index]; }
  // Of a row in the file, from 1: for messages.
  std::size_t row_number(std::size_t row) const { return (row_of.empty() ? row : row_of[row]) + 1; }
};

// Reads the asked columns of a Parquet file, of the rows that pass all filters (the most selective
// should come first), and nothing else. The types are those of
// AIConfigurator's reader and exact: INT64 and DOUBLE, no null anywhere. Fails with kParse where a
// column is missing, of another type or holds a null (with its row), and on damage; a git-lfs
// pointer and an HTML page are named as such.
//
// Arrow is opened on the first call (about 7 ms), so that commands which read no table do not pay
// for it. kUnsupported: this build's Arrow library is not where it was.
Result<Columns> read_columns(const std::filesystem::path& path,
                             std::span<const ColumnRequest> requests,
                             std::span<const RowFilter> filters = {});

// A column to be written; the vector of its type counts.
struct NewColumn {
  std::string name;
  ColumnType type = ColumnType::kReal;
  std::vector<std::string> texts = {};
  std::vector<std::int64_t> ints = {};
  std::vector<double> reals = {};

  std::size_t rows() const;
};

// Writes a Parquet file that read_columns and AIConfigurator read: required columns of exactly
// INT64, DOUBLE and string, ZSTD, `metadata` as key and value pairs of the file. Through a
// temporary file and a rename. Fails with kInvalidArgument where columns differ in length.
Result<void> write_columns(const std::filesystem::path& path, std::span<const NewColumn> columns,
                           const std::map<std::string, std::string>& metadata);

}  // namespace dsaperf::perfdb
