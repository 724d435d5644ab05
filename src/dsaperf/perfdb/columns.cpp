#include "dsaperf/perfdb/columns.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/shared_library.hpp"
#include "dsaperf/perfdb/parquet/library.hpp"

namespace dsaperf::perfdb {
namespace {

template <typename Function>
Result<Function*> library_function(const char* name) {
  DSAPERF_TRY_ASSIGN(void* const found, function_of_library(parquet_library::kFileName, name));
  return reinterpret_cast<Function*>(found);
}

}  // namespace

Result<Columns> read_columns(const std::filesystem::path& path,
                             std::span<const ColumnRequest> requests,
                             std::span<const RowFilter> filters) {
  DSAPERF_TRY(check_data_file(path));
  DSAPERF_TRY_ASSIGN(auto* const read, library_function<parquet_library::ReadFunction>(
                                           parquet_library::kReadFunction));
  parquet_library::Outcome outcome;
  read(path.c_str(), requests, filters, &outcome);
  if (!outcome.ok) return fail(Errc::kParse, "{}: {}", path.native(), outcome.error);
  return std::move(outcome.columns);
}

std::size_t NewColumn::rows() const {
  switch (type) {
    case ColumnType::kText:
      return texts.size();
    case ColumnType::kInt:
      return ints.size();
    case ColumnType::kReal:
      break;
  }
  return reals.size();
}

Result<void> write_columns(const std::filesystem::path& path, std::span<const NewColumn> columns,
                           const std::map<std::string, std::string>& metadata) {
  for (const auto& column : columns) {
    if (column.rows() != columns.front().rows()) {
      return fail(Errc::kInvalidArgument, "{}: column '{}' has {} rows, '{}' {}", path.native(),
                  column.name, column.rows(), columns.front().name, columns.front().rows());
    }
  }
  DSAPERF_TRY_ASSIGN(auto* const write, library_function<parquet_library::WriteFunction>(
                                            parquet_library::kWriteFunction));
  parquet_library::Written written;
  write(columns.data(), columns.size(), &metadata, &written);
  if (!written.ok) return fail(Errc::kIo, "{}: {}", path.native(), written.error);
  return write_file(path, written.bytes);
}

}  // namespace dsaperf::perfdb
