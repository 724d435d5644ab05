#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// What cannot be read is as good as absent.
bool path_exists(const std::filesystem::path& path);

// Sorted; hidden ones left out.
std::vector<std::filesystem::path> subfolders(const std::filesystem::path& path);

// The names of a folder's files.
class Listing {
 public:
  static Listing of(const std::filesystem::path& folder);
  bool holds(std::string_view file) const;
  bool holds_tables() const;
  // INCOMPLETE.txt without provenance beside it hides a folder.
  bool is_vetoed() const { return holds("INCOMPLETE.txt") && !holds("collection_meta.yaml"); }

 private:
  std::vector<std::string> names_;  // sorted
};

}  // namespace dsaperf::perfdb
