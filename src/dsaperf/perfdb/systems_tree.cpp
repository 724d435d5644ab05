#include "dsaperf/perfdb/systems_tree.hpp"

#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/version.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <map>
#include <mutex>
#include <set>
#include <system_error>

namespace dsaperf::perfdb {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kFrameworks = {"sglang", "trtllm", "vllm"};
// First-level folders of these names hold the flat layout; all others are families.
constexpr std::array<std::string_view, 5> kBackendFolders = {"nccl", "oneccl", "sglang", "trtllm",
                                                             "vllm"};
constexpr Bytes kLongestYaml{16 << 20};

bool is_backend_folder(std::string_view folder) {
  return std::find(kBackendFolders.begin(), kBackendFolders.end(), folder) != kBackendFolders.end();
}

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

// The names of a folder's files.
class Listing {
 public:
  static Listing of(const fs::path& folder) {
    Listing listing;
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(folder, ignored))
      listing.names_.push_back(entry.path().filename().native());
    std::sort(listing.names_.begin(), listing.names_.end());
    return listing;
  }

  bool holds(std::string_view file) const {
    return std::binary_search(names_.begin(), names_.end(), file);
  }
  bool holds_tables() const {
    return std::any_of(names_.begin(), names_.end(),
                       [](const std::string& name) { return name.ends_with(".parquet"); });
  }
  // INCOMPLETE.txt without provenance beside it hides a folder.
  bool is_vetoed() const { return holds("INCOMPLETE.txt") && !holds("collection_meta.yaml"); }

 private:
  std::vector<std::string> names_;
};

bool version_less(const std::string& a, const std::string& b) {
  const auto x = Version::parse(a);
  const auto y = Version::parse(b);
  if (x && y) return *x == *y ? a < b : *x < *y;
  return x.has_value() == y.has_value() ? a < b : !x;
}

template <typename Use>
Result<void> with_yaml(const fs::path& path, const Use& use) {
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kLongestYaml));
  try {
    use(YAML::Load(text));
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "{}: {}", path.native(), error.what());
  }
  return {};
}

// The manifest's entries of `table` that may be of `backend` and another framework, to be parsed:
// the file is long (60 kB) and one entry a list item.
std::string manifest_entries(std::string_view text, std::string_view table,
                             std::string_view backend) {
  static constexpr std::string_view kItem = "\n  - op_file: ";
  const auto alone = "frameworks: [" + std::string(backend) + "]";
  std::string found;
  for (auto begin = text.find(kItem); begin != std::string_view::npos;) {
    const auto end = text.find(kItem, begin + 1);
    const auto item = text.substr(begin, end == std::string_view::npos ? end : end - begin);
    const auto name = item.substr(kItem.size(), item.find('\n', 1) - kItem.size());
    if (name.substr(0, name.find_last_not_of(" '\"\r") + 1).ends_with(table) &&
        item.find(backend) != std::string_view::npos && item.find(alone) == std::string_view::npos)
      found += item;
    begin = end;
  }
  return found;
}

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

std::string_view name(SourceChannel channel) {
  switch (channel) {
    case SourceChannel::kPrimary:
      return "primary";
    case SourceChannel::kDeclaredReuse:
      return "declared_reuse";
    case SourceChannel::kFallback:
      return "fallback";
    case SourceChannel::kCrossBackend:
      break;
  }
  return "cross_backend";
}

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
  if (const char* environment = std::getenv("VIRTUAL_ENV"); environment != nullptr) {
    if (const auto found = systems_of_environment(environment)) return open(*found);
  }
  // The environment in build/ comes last by contract; where it is all there is, python3 is still
  // asked first.
  if (const auto found = systems_of_path()) return open(*found);
  if (const auto found = systems_of_build()) return open(*found);
  if (auto own = shipped()) return own;
  return fail(Errc::kNotFound,
              "no tables of AIConfigurator: looked at --systems, $DSAPERF_SYSTEMS, $VIRTUAL_ENV, "
              "python3 on "
              "PATH and build/venv; `pip install aiconfigurator-core==0.12.0` brings them");
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

// Files that come after they were asked for are seen by a tree that is opened later.
struct SystemsTree::Known {
  std::mutex mutex;
  std::map<std::string, SystemFile, std::less<>> files;
  std::map<std::pair<fs::path, std::string>, std::vector<VersionFolder>> folders;
  std::map<fs::path, Listing> listings;  // of version folders
  std::map<std::pair<std::string, std::string>, std::optional<AuthoredSlots>> slots;

  const Listing& listing(const fs::path& folder) {
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
    return fail(Errc::kNotFound, "{}: no system '{}' (have: {})", root_.native(), name,
                fmt::join(systems(), ", "));
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

Result<std::optional<std::string>> SystemsTree::newest_above(
    std::string_view backend, const std::string& current,
    const std::vector<std::string>& left_out) const {
  std::optional<std::string> newest;
  for (const auto& name : systems()) {
    if (std::find(left_out.begin(), left_out.end(), name) != left_out.end()) continue;
    DSAPERF_TRY_ASSIGN(const auto file, system(name));
    for (const auto& folder : version_folders(file.data, backend)) {
      if (!version_less(newest.value_or(current), folder.version)) continue;
      if (known_->holds_tables(folder)) newest = folder.version;
    }
  }
  return newest;
}

Result<std::optional<SystemsTree::AuthoredSlots>> SystemsTree::authored_slots(
    std::string_view system_name, std::string_view backend) const {
  const auto key = std::pair(std::string(system_name), std::string(backend));
  {
    const std::lock_guard lock(known_->mutex);
    const auto found = known_->slots.find(key);
    if (found != known_->slots.end()) return found->second;
  }
  const auto path = root_ / "query_versions.yaml";
  if (!path_exists(path)) return std::nullopt;
  DSAPERF_TRY_ASSIGN(const auto file, system(system_name));
  if (version_folders(file.data, backend).empty()) return std::nullopt;
  AuthoredSlots found;
  const std::string system_key(system_name);
  const std::string backend_key(backend);
  DSAPERF_TRY(with_yaml(path, [&](const YAML::Node& document) {
    YAML::Node chosen = document["defaults"][backend_key];
    for (const auto& entry : document["overrides"]) {
      if (!entry.second[backend_key]) continue;
      found.override_systems.push_back(entry.first.as<std::string>());
      if (found.override_systems.back() != system_key) continue;
      found.is_override = true;
      chosen.reset(entry.second[backend_key]);
    }
    if (!chosen) return;
    found.slots.current = chosen["current"].as<std::string>("");
    if (chosen["previous"] && !chosen["previous"].IsNull()) {
      found.slots.previous = chosen["previous"].as<std::string>();
    }
  }));
  const std::lock_guard lock(known_->mutex);
  auto& known = known_->slots[key];
  if (!found.slots.current.empty()) known = std::move(found);
  return known;
}

Result<std::optional<VersionSlots>> SystemsTree::slots(std::string_view system_name,
                                                       std::string_view backend) const {
  DSAPERF_TRY_ASSIGN(auto authored, authored_slots(system_name, backend));
  if (!authored) return std::nullopt;
  if (!authored->is_override) {
    DSAPERF_TRY_ASSIGN(authored->slots.next,
                       newest_above(backend, authored->slots.current, authored->override_systems));
  }
  return std::move(authored->slots);
}

Result<std::string> SystemsTree::resolve_version(std::string_view system_name,
                                                 std::string_view backend,
                                                 std::string_view asked) const {
  const bool is_alias = asked == "current" || asked == "previous" || asked == "next";
  // `next` is derived from the folders of all systems: only where the answer may depend on it.
  DSAPERF_TRY_ASSIGN(const auto authored, authored_slots(system_name, backend));
  if (authored && (asked.empty() || asked == "current" || asked == authored->slots.current)) {
    return authored->slots.current;
  }
  DSAPERF_TRY_ASSIGN(const auto slots_of_pair, slots(system_name, backend));
  if (!slots_of_pair) {
    DSAPERF_TRY_ASSIGN(const auto have, versions(system_name, backend));
    if (have.empty()) {
      return fail(Errc::kNotFound, "{} has no tables of backend '{}'", system_name, backend);
    }
    if (asked.empty() || asked == "current") return have.back();
    if (is_alias || (shipped_ && asked != kOwnVersion)) {
      return fail(Errc::kNotFound, "{} on {}: {} which version is '{}'", backend, system_name,
                  shipped_ ? "nothing says" : "no query_versions.yaml says", asked);
    }
    return std::string(asked);
  }
  const auto& slots = *slots_of_pair;
  if ((asked == "previous" || asked == slots.previous) && slots.previous) return *slots.previous;
  if ((asked == "next" || asked == slots.next) && slots.next) return *slots.next;
  return fail(Errc::kNotFound, "{} on {}: version '{}' is not offered (current {}{}{})", backend,
              system_name, asked, slots.current,
              slots.previous ? ", previous " + *slots.previous : "",
              slots.next ? ", next " + *slots.next : "");
}

Result<void> SystemsTree::add_declared_donors(std::vector<TableSource>& found, const fs::path& data,
                                              std::string_view backend, std::string_view version,
                                              std::string_view table) const {
  const auto stem = fs::path(table).stem().native();
  std::vector<std::string> donors;
  for (const auto& folder : version_folders(data, backend)) {
    if (folder.version != version || !known_->holds(folder, "reuse.yaml")) continue;
    DSAPERF_TRY(with_yaml(folder.path / "reuse.yaml", [&](const YAML::Node& document) {
      for (const auto& entry : document["reuse"]) {
        if (entry["table"].as<std::string>("") == stem) {
          donors.push_back(entry["from_version"].as<std::string>());
        }
      }
    }));
  }
  for (const auto& donor : donors) {
    for (const auto& folder : version_folders(data, backend)) {
      if (folder.version != donor || !known_->holds(folder, table)) continue;
      found.push_back({.path = folder.path / table,
                       .backend = std::string(backend),
                       .version = donor,
                       .channel = SourceChannel::kDeclaredReuse,
                       .kernel_sources = {}});
    }
  }
  return {};
}

Result<void> SystemsTree::add_other_backends(std::vector<TableSource>& found, const fs::path& data,
                                             std::string_view backend,
                                             std::string_view table) const {
  const auto path = root_ / "perf_data_reuse_manifest.yaml";
  if (!path_exists(path)) return {};
  DSAPERF_TRY_ASSIGN(const auto text, read_file(path, kLongestYaml));
  std::map<std::string, std::vector<std::string>> kernels_of;  // framework -> kernel sources
  try {
    for (const auto& group : YAML::Load(manifest_entries(text, table, backend))) {
      if (group["op_file"].as<std::string>() != table) continue;
      const auto tier = group["tier"].as<std::string>();
      if (tier != "shared" && tier != "shared_fallback") continue;
      const auto frameworks = group["frameworks"].as<std::vector<std::string>>();
      if (std::find(frameworks.begin(), frameworks.end(), backend) == frameworks.end()) continue;
      for (const auto& framework : frameworks) {
        if (framework != backend)
          kernels_of[framework].push_back(group["kernel_source"].as<std::string>());
      }
    }
  } catch (const YAML::Exception& error) {
    return fail(Errc::kParse, "{}: {}", path.native(), error.what());
  }
  for (const auto& [framework, kernels] : kernels_of) {
    auto folders = version_folders(data, framework);
    std::stable_sort(folders.begin(), folders.end(), [](const auto& a, const auto& b) {
      return version_less(b.version, a.version);
    });
    for (const auto& folder : folders) {
      if (!known_->holds(folder, table)) continue;
      found.push_back({.path = folder.path / table,
                       .backend = framework,
                       .version = folder.version,
                       .channel = SourceChannel::kCrossBackend,
                       .kernel_sources = kernels});
    }
  }
  return {};
}

Result<std::vector<TableSource>> SystemsTree::sources(std::string_view system_name,
                                                      std::string_view backend,
                                                      std::string_view version,
                                                      std::string_view table) const {
  DSAPERF_TRY_ASSIGN(const auto file, system(system_name));
  auto folders = version_folders(file.data, backend);
  std::vector<TableSource> found;
  if (shipped_ && backend == kOwnBackend &&
      (table == dsa_table_file(Phase::kContext) || table == dsa_table_file(Phase::kGeneration))) {
    found.push_back({.path = file.data,
                     .backend = std::string(backend),
                     .version = std::string(version),
                     .kernel_sources = {}});
    return found;
  }
  if (shipped_ && backend == kOwnBackend && table == kGemmTable) {
    for (auto& path : own_table_files(file.data / "gemm")) {
      found.push_back({.path = std::move(path),
                       .backend = std::string(backend),
                       .version = std::string(version),
                       .kernel_sources = {}});
    }
    return found;
  }
  const auto add = [&](const VersionFolder& folder, SourceChannel channel) {
    if (!known_->holds(folder, table)) return;
    found.push_back({.path = folder.path / table,
                     .backend = std::string(backend),
                     .version = folder.version,
                     .channel = channel,
                     .kernel_sources = {}});
  };
  for (const auto& folder : folders) {
    if (folder.version == version) add(folder, SourceChannel::kPrimary);
  }
  DSAPERF_TRY(add_declared_donors(found, file.data, backend, version, table));
  // Only versions that order as versions do are filled from older ones.
  const auto asked = Version::parse(version);
  std::stable_sort(folders.begin(), folders.end(),
                   [](const auto& a, const auto& b) { return version_less(b.version, a.version); });
  for (const auto& folder : folders) {
    const auto other = Version::parse(folder.version);
    if (asked && other && *other < *asked) add(folder, SourceChannel::kFallback);
  }
  DSAPERF_TRY(add_other_backends(found, file.data, backend, table));
  // A donor may be an older version too; the first mention counts.
  std::set<fs::path> seen;
  std::erase_if(found, [&](const TableSource& source) { return !seen.insert(source.path).second; });
  return found;
}

Result<TableSource> SystemsTree::collective_source(std::string_view system_name,
                                                   std::string_view library,
                                                   std::string_view table) const {
  DSAPERF_TRY_ASSIGN(const auto file, system(system_name));
  const auto& version = library == "oneccl" ? file.oneccl_version : file.nccl_version;
  for (const auto& folder : version_folders(file.data, library)) {
    if (folder.version != version || !known_->holds(folder, table)) continue;
    return TableSource{.path = folder.path / table,
                       .backend = std::string(library),
                       .version = version,
                       .channel = SourceChannel::kPrimary,
                       .kernel_sources = {}};
  }
  return fail(Errc::kNotFound, "{}: no {} of version '{}' under {}", system_name, table, version,
              file.data.native());
}

}  // namespace dsaperf::perfdb
