#include "dsaperf/perfdb/columns.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/perfdb/parquet/reader.hpp"

#include <dlfcn.h>

namespace dsaperf::perfdb {
namespace {

// Looked for along the run path of whatever holds this code; never unloaded.
Result<parquet_library::ReadFunction*> read_function() {
  static void* const library = dlopen(parquet_library::kFileName, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* reason = dlerror();
    return fail(Errc::kUnsupported, "the Parquet reader does not load ({})",
                reason != nullptr ? reason : parquet_library::kFileName);
  }
  auto* const found = dlsym(library, parquet_library::kReadFunction);
  if (found == nullptr) {
    return fail(Errc::kUnsupported, "{} is of another version", parquet_library::kFileName);
  }
  return reinterpret_cast<parquet_library::ReadFunction*>(found);
}

}  // namespace

Result<Columns> read_columns(const std::filesystem::path& path,
                             std::span<const ColumnRequest> requests) {
  DSAPERF_TRY(check_data_file(path));
  DSAPERF_TRY_ASSIGN(auto* const read, read_function());
  parquet_library::Outcome outcome;
  read(path.c_str(), requests.data(), requests.size(), &outcome);
  if (!outcome.ok) return fail(Errc::kParse, "{}: {}", path.native(), outcome.error);
  return std::move(outcome.columns);
}

}  // namespace dsaperf::perfdb
