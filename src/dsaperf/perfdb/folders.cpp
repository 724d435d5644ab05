#include "dsaperf/perfdb/folders.hpp"

#include <algorithm>
#include <system_error>

namespace dsaperf::perfdb {

namespace fs = std::filesystem;

bool path_exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

std::vector<fs::path> subfolders(const fs::path& path) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored)) {
    const auto name = entry.path().filename().native();
    if (!name.starts_with('.') && entry.is_directory(ignored)) found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

Listing Listing::of(const fs::path& folder) {
  Listing listing;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    listing.names_.push_back(entry.path().filename().native());
  std::sort(listing.names_.begin(), listing.names_.end());
  return listing;
}

bool Listing::holds(std::string_view file) const {
  return std::binary_search(names_.begin(), names_.end(), file);
}

bool Listing::holds_tables() const {
  return std::any_of(names_.begin(), names_.end(),
                     [](const std::string& name) { return name.ends_with(".parquet"); });
}

}  // namespace dsaperf::perfdb
