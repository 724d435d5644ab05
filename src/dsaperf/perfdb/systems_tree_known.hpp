#pragma once

#include "dsaperf/perfdb/folders.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dsaperf::perfdb {

// What was read of a tree, shared by its copies. Files that come after they were asked for are seen
// by a tree that is opened later.
struct SystemsTree::Known {
  std::mutex mutex;
  std::map<std::string, SystemFile, std::less<>> files;
  std::map<std::pair<std::filesystem::path, std::string>, std::vector<VersionFolder>> folders;
  std::map<std::filesystem::path, Listing> listings;  // of version folders
  std::map<std::pair<std::string, std::string>, std::optional<AuthoredSlots>> slots;

  const Listing& listing(const std::filesystem::path& folder) {
    const auto [entry, is_new] = listings.try_emplace(folder);
    if (is_new) entry->second = Listing::of(folder);
    return entry->second;  // stays where it is, as it is
  }
  bool holds(const VersionFolder& folder, std::string_view file) {
    const std::lock_guard lock(mutex);
    return listing(folder.path).holds(file);
  }
  bool holds_tables(const VersionFolder& folder) {
    const std::lock_guard lock(mutex);
    return listing(folder.path).holds_tables();
  }
};

}  // namespace dsaperf::perfdb
