#include "dsaperf/perfdb/systems_tree.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/near_name.hpp"
#include "dsaperf/perfdb/folders.hpp"
#include "dsaperf/perfdb/installed_systems.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/systems_tree_known.hpp"
#include "dsaperf/perfdb/version.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <system_error>

namespace dsaperf::perfdb {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kFrameworks = {"sglang", "trtllm", "vllm"};
// First-level folders of these names hold the flat layout; all others are families.
constexpr std::array<std::string_view, 5> kBackendFolders = {"nccl", "oneccl", "sglang", "trtllm",
                                                             "vllm"};

bool is_backend_folder(std::string_view folder) {
  return std::find(kBackendFolders.begin(), kBackendFolders.end(), folder) != kBackendFolders.end();
}

// The folders of one backend: <family>/<backend> and, flat, <backend>.
std::vector<fs::path> backend_folders(const fs::path& data, std::string_view backend) {
  std::vector<fs::path> found;
  for (const auto& folder : subfolders(data)) {
    if (folder.filename() == backend) {
      found.push_back(folder);
    } else if (!is_backend_folder(folder.filename().native()) && path_exists(folder / backend)) {
      found.push_back(folder / backend);
    }
  }
  return found;
}

}  // namespace

Result<SystemsTree> SystemsTree::open(const fs::path& root) {
  std::error_code ignored;
  if (!fs::is_directory(root, ignored)) {
    return fail(Errc::kNotFound, "{}: no such folder of tables", root.native());
  }
  return SystemsTree(root);
}

Result<SystemsTree> SystemsTree::discover(const fs::path& given) {
  auto asked = given;
  if (const char* named = std::getenv("DSAPERF_SYSTEMS"); asked.empty() && named != nullptr) {
    asked = named;
  }
  if (asked == kNoTree) return shipped();
  if (!asked.empty()) return open(asked);
  if (const auto installed = installed_systems()) return open(*installed);
  if (auto own = shipped()) return own;
  return fail(
      Errc::kNotFound,
      "no tables of AIConfigurator: looked at --systems, $DSAPERF_SYSTEMS, $VIRTUAL_ENV, "
      "python3 on PATH and build/venv; `pip install aiconfigurator-core==0.12.0` brings them");
}

Result<SystemsTree> SystemsTree::shipped() {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  SystemsTree tree(data / "tables");
  tree.shipped_ = true;
  if (tree.systems().empty()) {
    return fail(Errc::kNotFound,
                "{}: no tables are shipped; `dsaperf collect CONFIG -o DIR` measures some",
                tree.root_.native());
  }
  return tree;
}

SystemsTree::SystemsTree(fs::path root)
    : root_(std::move(root)), known_(std::make_shared<Known>()) {
}

std::vector<std::string> SystemsTree::systems() const {
  std::vector<std::string> found;
  std::error_code ignored;
  if (shipped_) {
    for (const auto& folder : subfolders(root_)) {
      if (!own_table_files(folder).empty()) found.push_back(folder.filename().native());
    }
    return found;
  }
  for (const auto& entry : fs::directory_iterator(root_, ignored)) {
    const auto& path = entry.path();
    const auto stem = path.stem().native();
    if (path.extension() == ".yaml" && stem != "query_versions" &&
        stem != "perf_data_reuse_manifest" && stem != "attention_lane_defaults") {
      found.push_back(stem);
    }
  }
  std::sort(found.begin(), found.end());
  return found;
}

fs::path SystemsTree::figures_of(std::string_view system) const {
  return (shipped_ ? root_.parent_path() / "systems" : root_) / (std::string(system) + ".yaml");
}

Result<SystemFile> SystemsTree::system(std::string_view name) const {
  const auto path = figures_of(name);
  const auto has_tables = [&] { return std::ranges::count(systems(), name) > 0; };
  if (name.empty() || name.find('/') != std::string_view::npos || !path_exists(path) ||
      (shipped_ && !has_tables())) {
    const auto known = systems();
    if (known.empty()) return fail(Errc::kNotFound, "{}: holds no tables", root_.native());
    return fail(Errc::kNotFound, "{}: no system '{}' (have: {}){}", root_.native(), name,
                fmt::join(known, ", "), did_you_mean(name, known));
  }
  const std::lock_guard lock(known_->mutex);
  const auto found = known_->files.find(name);
  if (found != known_->files.end()) return found->second;
  DSAPERF_TRY_ASSIGN(auto file, read_system_file(path));
  if (shipped_) file.data = root_ / name;
  known_->files.emplace(name, file);
  return file;
}

std::vector<SystemsTree::VersionFolder> SystemsTree::version_folders(
    const fs::path& data, std::string_view backend) const {
  const std::lock_guard lock(known_->mutex);
  const auto [known, is_new] = known_->folders.try_emplace({data, std::string(backend)});
  if (!is_new) return known->second;
  for (const auto& folder : backend_folders(data, backend)) {
    for (const auto& version : subfolders(folder)) {
      const auto name = version.filename().native();
      if (name.starts_with('_') || known_->listing(version).is_vetoed()) continue;
      known->second.push_back({.version = name, .path = version});
    }
  }
  return known->second;
}

Result<void> SystemsTree::check_backend(std::string_view backend) {
  const bool is_framework =
      std::find(kFrameworks.begin(), kFrameworks.end(), backend) != kFrameworks.end();
  if (is_framework || backend == kOwnBackend) return {};
  return fail(Errc::kInvalidArgument, "no backend '{}' (have: {}, and {}: our own)", backend,
              fmt::join(kFrameworks, ", "), kOwnBackend);
}

Result<std::vector<std::string>> SystemsTree::backends(std::string_view system_name) const {
  DSAPERF_TRY_ASSIGN(const auto file, system(system_name));
  std::vector<std::string> found;
  if (shipped_) return std::vector<std::string>{std::string(kOwnBackend)};
  for (const auto framework : kFrameworks) {
    if (!backend_folders(file.data, framework).empty()) found.emplace_back(framework);
  }
  return found;
}

Result<std::vector<std::string>> SystemsTree::versions(std::string_view system_name,
                                                       std::string_view backend) const {
  DSAPERF_TRY_ASSIGN(const auto file, system(system_name));
  std::vector<std::string> found;
  if (shipped_ && backend == kOwnBackend) found.emplace_back(kOwnVersion);
  for (const auto& folder : version_folders(file.data, backend)) {
    if (known_->holds_tables(folder) || known_->holds(folder, "reuse.yaml"))
      found.push_back(folder.version);
  }
  std::sort(found.begin(), found.end(), version_less);
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

}  // namespace dsaperf::perfdb
