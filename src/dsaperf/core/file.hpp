#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace dsaperf {

// Reads a whole file (a pipe works too). Every error names the path: missing, a directory, no
// permission, empty, longer than `limit` (found before it is read where the size is known), a
// git-lfs pointer or an HTML page where data should be.
Result<std::string> read_file(const std::filesystem::path& path, Bytes limit);

// The same of the standard input.
Result<std::string> read_stdin(Bytes limit);

// The checks of read_file on the first bytes alone, for readers that open the file themselves
// (Arrow, SQLite, zlib).
Result<void> check_data_file(const std::filesystem::path& path);

// Fails with what is there instead of data: nothing, a git-lfs pointer, an HTML page.
Result<void> check_content(std::string_view start);

// Writes through a temporary file beside it and renames, so that a reader sees the old content or
// the new one, never a part. Missing folders above are made. A link stays, and what it leads to is
// written; a device or a pipe is written as it is, and what leads to an open descriptor of this
// process (/dev/stdout, /dev/fd/3) into that descriptor, behind what was printed, whatever it is.
Result<void> write_file(const std::filesystem::path& path, std::string_view content);

}  // namespace dsaperf
