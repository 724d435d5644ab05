// Which files serve a table: those of the version itself, of donors that it declares, of older
// versions, of other backends by the manifest.
#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/perfdb/systems_tree_known.hpp"
#include "dsaperf/perfdb/version.hpp"
#include "dsaperf/perfdb/yaml_file.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace dsaperf::perfdb {
namespace {

namespace fs = std::filesystem;

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

// Kernel sources of `table` that `backend` may take from other frameworks, by framework.
using KernelsOf = std::map<std::string, std::vector<std::string>>;
void add_shared_kernels(KernelsOf& kernels, const YAML::Node& entry, std::string_view table,
                        std::string_view backend) {
  if (entry["op_file"].as<std::string>() != table) return;
  const auto tier = entry["tier"].as<std::string>();
  if (tier != "shared" && tier != "shared_fallback") return;
  const auto frameworks = entry["frameworks"].as<std::vector<std::string>>();
  if (std::ranges::find(frameworks, backend) == frameworks.end()) return;
  for (const auto& framework : frameworks) {
    if (framework != backend)
      kernels[framework].push_back(entry["kernel_source"].as<std::string>());
  }
}

// Our own tables: those of DSA are a folder of files, that of GEMMs has files of its own.
std::vector<TableSource> own_sources(const fs::path& data, std::string_view version,
                                     std::string_view table) {
  std::vector<TableSource> found;
  const auto add = [&](fs::path path) {
    found.push_back({.path = std::move(path),
                     .backend = std::string(kOwnBackend),
                     .version = std::string(version),
                     .kernel_sources = {}});
  };
  if (table == dsa_table_file(Phase::kContext) || table == dsa_table_file(Phase::kGeneration))
    add(data);
  if (table == kGemmTable)
    for (auto& path : own_table_files(data / "gemm")) add(std::move(path));
  return found;
}

template <typename Folder>
void newest_first(std::vector<Folder>& folders) {
  std::stable_sort(folders.begin(), folders.end(), [](const Folder& a, const Folder& b) {
    return version_less(b.version, a.version);
  });
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

Result<void> SystemsTree::add_declared_donors(std::vector<TableSource>& found, const fs::path& data,
                                              std::string_view backend, std::string_view version,
                                              std::string_view table) const {
  const auto stem = fs::path(table).stem().native();
  std::vector<std::string> donors;
  for (const auto& folder : version_folders(data, backend)) {
    if (folder.version != version || !known_->holds(folder, "reuse.yaml")) continue;
    DSAPERF_TRY(with_yaml_file(folder.path / "reuse.yaml", [&](const YAML::Node& document) {
      for (const auto& entry : document["reuse"]) {
        if (entry["table"].as<std::string>("") == stem)
          donors.push_back(entry["from_version"].as<std::string>());
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
  KernelsOf kernels_of;
  DSAPERF_TRY(with_yaml(path, manifest_entries(text, table, backend), [&](const YAML::Node& list) {
    for (const auto& entry : list) add_shared_kernels(kernels_of, entry, table, backend);
  }));
  for (const auto& [framework, kernels] : kernels_of) {
    auto folders = version_folders(data, framework);
    newest_first(folders);
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
  if (shipped_ && backend == kOwnBackend) return own_sources(file.data, version, table);
  std::vector<TableSource> found;
  auto folders = version_folders(file.data, backend);
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
  newest_first(folders);
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
