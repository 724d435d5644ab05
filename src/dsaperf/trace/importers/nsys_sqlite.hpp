#pragma once

#include "dsaperf/trace/timeline.hpp"

#include <filesystem>
#include <string>

namespace dsaperf::trace {

// An Nsight Systems export (`nsys export --type sqlite`), plain or gzip.
//
// Keyed on the schema version in META_DATA_EXPORT (3.24 to 3.27 are known; another version is read
// by its column names, with a warning). Only CUPTI_ACTIVITY_KIND_KERNEL with start, end and a name
// is needed; copies, fills, NVTX ranges, runtime calls and graph nodes are taken where their tables
// and columns are there. Names are ids into StringIds, times nanoseconds.
//
// Fails with kNotFound where no kernel was recorded. If whole CUDA graphs were recorded instead
// (CUPTI_ACTIVITY_KIND_GRAPH_TRACE), the message says so and how to record their nodes.
Result<Timeline> read_nsys_sqlite(const std::filesystem::path& path);

// The same from memory; `bytes` is changed.
Result<Timeline> read_nsys_sqlite(std::string bytes);

}  // namespace dsaperf::trace
