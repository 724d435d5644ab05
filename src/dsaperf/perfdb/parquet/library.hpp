#pragma once

#include "dsaperf/perfdb/columns.hpp"

// Between the program and the shared library that holds Arrow: two functions, found by name at run
// time.
namespace dsaperf::perfdb::parquet_library {

struct Outcome {
  bool ok = false;
  std::string error;  // without the file's name
  Columns columns;
};

inline constexpr const char* kFileName = "libdsaperf_parquet.so";
inline constexpr const char* kReadFunction = "dsaperf_read_parquet";
using ReadFunction = void(const char* path, std::span<const ColumnRequest> requests,
                          std::span<const RowFilter> filters, Outcome* outcome);

// The file's bytes, so that one place of ours writes files.
struct Written {
  bool ok = false;
  std::string error;
  std::string bytes;
};

inline constexpr const char* kWriteFunction = "dsaperf_write_parquet";
using WriteFunction = void(const NewColumn* columns, std::size_t count,
                           const std::map<std::string, std::string>* metadata, Written* written);

}  // namespace dsaperf::perfdb::parquet_library
