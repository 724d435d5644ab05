#pragma once

#include "dsaperf/perfdb/columns.hpp"

// Between the program and the shared library that holds Arrow: one function, found by name at run
// time.
namespace dsaperf::perfdb::parquet_library {

struct Outcome {
  bool ok = false;
  std::string error;  // without the file's name
  Columns columns;
};

inline constexpr const char* kFileName = "libdsaperf_parquet.so";
inline constexpr const char* kReadFunction = "dsaperf_read_parquet";
using ReadFunction = void(const char* path, const ColumnRequest* requests, std::size_t count,
                          Outcome* outcome);

}  // namespace dsaperf::perfdb::parquet_library
