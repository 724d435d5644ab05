#include "dsaperf/perfdb/installed_systems.hpp"

#include "dsaperf/perfdb/folders.hpp"

#include <algorithm>
#include <cstdlib>
#include <string_view>
#include <system_error>
#include <vector>

namespace dsaperf::perfdb {
namespace {

namespace fs = std::filesystem;

// <prefix>/lib/python3.x/{site,dist}-packages/aiconfigurator_core/systems
std::optional<fs::path> systems_of_environment(const fs::path& prefix) {
  for (const auto& python : subfolders(prefix / "lib")) {
    for (const char* packages : {"site-packages", "dist-packages"}) {
      const auto systems = python / packages / "aiconfigurator_core/systems";
      if (path_exists(systems)) return systems;
    }
  }
  return std::nullopt;
}

// scripts/setup's environment: build/venv beside or above the program.
std::optional<fs::path> systems_of_build() {
  std::error_code ignored;
  auto folder = fs::read_symlink("/proc/self/exe", ignored).parent_path();
  while (!folder.empty() && folder != folder.root_path()) {
    if (const auto found = systems_of_environment(folder / "venv")) return found;
    if (const auto found = systems_of_environment(folder / "build/venv")) return found;
    folder = folder.parent_path();
  }
  return std::nullopt;
}

// Where the first python3 on PATH looks for packages. It is not started: that costs 20 ms, and the
// places are known (its environment, or the system's, the local and the user's).
std::optional<fs::path> systems_of_path() {
  const char* const path = std::getenv("PATH");
  std::string_view rest = path != nullptr ? path : "";
  while (!rest.empty()) {
    const auto end = std::min(rest.find(':'), rest.size());
    const fs::path folder(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (folder.empty() || !path_exists(folder / "python3")) continue;
    std::error_code ignored;
    const auto target = fs::canonical(folder / "python3", ignored);
    std::vector<fs::path> prefixes = {folder.parent_path()};
    if (!path_exists(folder.parent_path() / "pyvenv.cfg")) {
      if (const char* home = std::getenv("HOME")) prefixes.push_back(fs::path(home) / ".local");
      prefixes.push_back(folder.parent_path() / "local");
      prefixes.push_back(target.parent_path().parent_path());
    }
    for (const auto& prefix : prefixes) {
      if (const auto found = systems_of_environment(prefix)) return found;
    }
    return std::nullopt;  // the first python3 is the one that counts
  }
  return std::nullopt;
}

}  // namespace

std::optional<fs::path> installed_systems() {
  if (const char* environment = std::getenv("VIRTUAL_ENV"); environment != nullptr) {
    if (const auto found = systems_of_environment(environment)) return found;
  }
  // The environment in build/ comes last by contract; where it is all there is, python3 is still
  // asked first.
  if (const auto found = systems_of_path()) return found;
  return systems_of_build();
}

}  // namespace dsaperf::perfdb
