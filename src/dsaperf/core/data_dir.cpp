#include "dsaperf/core/data_dir.hpp"

#include "dsaperf/core/fail.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <string>
#include <system_error>

namespace dsaperf {
namespace {

// Folder of the program or shared library this function is linked into.
std::filesystem::path own_folder() {
  std::error_code ignored;
  Dl_info info{};
  std::filesystem::path file = std::filesystem::read_symlink("/proc/self/exe", ignored);
  // A position-independent program is reported by the name it was called with; a library by path.
  if (dladdr(reinterpret_cast<void*>(&own_folder), &info) != 0 && info.dli_fname != nullptr &&
      std::string_view(info.dli_fname).find(".so") != std::string_view::npos) {
    file = info.dli_fname;
  }
  return std::filesystem::absolute(file, ignored).parent_path();
}

// Every data folder holds the configs of known models.
bool is_data_dir(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_directory(path / "configs", ignored);
}

}  // namespace

Result<std::filesystem::path> data_dir() {
  if (const char* named = std::getenv("DSAPERF_DATA"); named != nullptr && *named != '\0') {
    if (is_data_dir(named)) return named;
    return fail(Errc::kNotFound, "DSAPERF_DATA: {} has no folder configs", named);
  }
  const auto start = own_folder();
  for (auto folder = start; !folder.empty(); folder = folder.parent_path()) {
    for (const auto* name : {"share/dsaperf", "data"}) {
      if (is_data_dir(folder / name)) return folder / name;
    }
    if (folder == folder.parent_path()) break;
  }
  return fail(Errc::kNotFound,
              "no data folder (share/dsaperf or data) in or above {}; DSAPERF_DATA names one",
              start.native());
}

void set_data_dir(std::string_view directory) {
  ::setenv("DSAPERF_DATA", std::string(directory).c_str(), 1);
}

}  // namespace dsaperf
