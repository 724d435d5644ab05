#include "dsaperf/perfdb/columns.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/perfdb/parquet/library.hpp"

#include <dlfcn.h>

namespace dsaperf::perfdb {
namespace {

// A function of the library, which is looked for along the run path of whatever holds this code and
// never unloaded.
template <typename Function>
Result<Function*> library_function(const char* name) {
  static void* const kLibrary = dlopen(parquet_library::kFileName, RTLD_NOW | RTLD_LOCAL);
  if (kLibrary == nullptr) {
    const char* reason = dlerror();
    return fail(Errc::kUnsupported, "the Parquet library does not load ({})",
                reason != nullptr ? reason : parquet_library::kFileName);
  }
  auto* const found = dlsym(kLibrary, name);
  if (found == nullptr) {
    return fail(Errc::kUnsupported, "{} is of another version", parquet_library::kFileName);
  }
  return reinterpret_cast<Function*>(found);
}

}  // namespace

Result<Columns> read_columns(const std::filesystem::path& path,
                             std::span<const ColumnRequest> requests) {
  DSAPERF_TRY(check_data_file(path));
  DSAPERF_TRY_ASSIGN(auto* const read, library_function<parquet_library::ReadFunction>(
                                           parquet_library::kReadFunction));
  parquet_library::Outcome outcome;
  read(path.c_str(), requests.data(), requests.size(), &outcome);
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
