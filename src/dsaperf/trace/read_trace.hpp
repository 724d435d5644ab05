#pragma once

#include "dsaperf/trace/timeline.hpp"

#include <filesystem>
#include <string_view>

namespace dsaperf::trace {

// Reads a trace or a kernel table of any format known here, plain or gzip; what it is follows from
// its content, not from its name. Messages name the file. The result is sorted and has at least one
// kernel.
Result<Timeline> read_trace(const std::filesystem::path& path);

// The same, of what was launched inside ranges of this name alone ("": all).
Result<Timeline> read_trace(const std::filesystem::path& path, std::string_view range);

}  // namespace dsaperf::trace
