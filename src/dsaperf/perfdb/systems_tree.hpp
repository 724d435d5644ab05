#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/system_file.hpp"

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::perfdb {

// How a file came to serve a table (AIConfigurator's word for it).
enum class SourceChannel { kPrimary, kDeclaredReuse, kFallback, kCrossBackend };
std::string_view name(SourceChannel channel);

// One file that contributes rows to a table. Sources are ordered: where two hold the same point,
// the earlier one answers.
struct TableSource {
  std::filesystem::path path;
  std::string backend;
  std::string version;
  SourceChannel channel = SourceChannel::kPrimary;
  std::vector<std::string> kernel_sources;  // rows of these only; empty: all rows
};

// The versions of a backend that may be asked for on a system (query_versions.yaml).
struct VersionSlots {
  std::string current;
  std::optional<std::string> previous;
  std::optional<std::string> next;
};

// Given, or in $DSAPERF_SYSTEMS, for a folder: the shipped tables alone, whatever is installed.
inline constexpr std::string_view kNoTree = "none";

// A `systems` folder as AIConfigurator 0.12 ships it and users lay it out
// (docs/formats/systems-tree.md):
//
//   <system>.yaml                                    figures of the card, data_dir
//   <data_dir>/<family>/<backend>/<version>/<table>  tables, beside them collection_meta.yaml
//                                                    and reuse.yaml
//   <data_dir>/<backend>/<version>/<table>           the older flat layout
//   query_versions.yaml                              versions that may be asked for; all, where
//                                                    it is absent
//   perf_data_reuse_manifest.yaml                    rows that one backend may take from another
//
// or, of shipped(), our own tables. Nothing is read before it is asked for. Safe to use from
// several threads.
class SystemsTree {
 public:
  // Fails with kNotFound where `root` is no folder.
  static Result<SystemsTree> open(const std::filesystem::path& root);

  // `given`, else $DSAPERF_SYSTEMS (either a folder or kNoTree), else the aiconfigurator_core of
  // $VIRTUAL_ENV, of python3 on PATH, of scripts/setup's environment (build/ above the program),
  // else the tables that are shipped. Fails with the places that were tried.
  static Result<SystemsTree> discover(const std::filesystem::path& given = {});

  // The shipped tables, DATA/tables/<card>/*.parquet (own_table.hpp), as a tree: one backend,
  // kOwnBackend, of one version, kOwnVersion; DATA/systems/<card>.yaml has the card's figures.
  // Fails with kNotFound where none are shipped.
  static Result<SystemsTree> shipped();
  bool is_shipped() const { return shipped_; }

  const std::filesystem::path& root() const { return root_; }

  // Fails, with those that there are, where no tree has a backend of this name: neither a
  // framework's nor our own.
  static Result<void> check_backend(std::string_view backend);

  // Names that have a YAML file, sorted.
  std::vector<std::string> systems() const;
  Result<SystemFile> system(std::string_view name) const;

  // Backends (trtllm, sglang, vllm) with a folder of data, sorted.
  Result<std::vector<std::string>> backends(std::string_view system) const;
  // Versions with a folder that is not vetoed, ascending.
  Result<std::vector<std::string>> versions(std::string_view system,
                                            std::string_view backend) const;

  // Empty: no query_versions.yaml, or no entry and data for the pair: any version may be asked for
  // by name.
  Result<std::optional<VersionSlots>> slots(std::string_view system,
                                            std::string_view backend) const;

  // The version that `asked` ("", "current", "previous", "next" or a number) names. Fails with
  // kNotFound for one that the slots do not offer, and says which they are.
  Result<std::string> resolve_version(std::string_view system, std::string_view backend,
                                      std::string_view asked) const;

  // Files of a table ("dsa_context_module_perf.parquet"), nearest first: own folder, declared
  // donors, older versions of the backend, other backends by the manifest. `version` as resolved.
  // May be empty.
  Result<std::vector<TableSource>> sources(std::string_view system, std::string_view backend,
                                           std::string_view version, std::string_view table) const;

  // The one folder that serves collectives ("nccl", "oneccl"): the version named in the system's
  // YAML.
  Result<TableSource> collective_source(std::string_view system, std::string_view library,
                                        std::string_view table) const;

 private:
  // Files of systems that were read already: each table asks again.
  struct Known;
  explicit SystemsTree(std::filesystem::path root);
  std::filesystem::path figures_of(std::string_view system) const;

  struct VersionFolder {
    std::string version;
    std::filesystem::path path;
  };
  struct AuthoredSlots {
    VersionSlots slots;
    bool is_override = false;
    std::vector<std::string> override_systems;  // take no part in deriving `next`
  };
  Result<std::optional<AuthoredSlots>> authored_slots(std::string_view system,
                                                      std::string_view backend) const;
  std::vector<VersionFolder> version_folders(const std::filesystem::path& data,
                                             std::string_view backend) const;
  Result<std::optional<std::string>> newest_above(std::string_view backend,
                                                  const std::string& current,
                                                  const std::vector<std::string>& left_out) const;
  Result<void> add_declared_donors(std::vector<TableSource>& found,
                                   const std::filesystem::path& data, std::string_view backend,
                                   std::string_view version, std::string_view table) const;
  Result<void> add_other_backends(std::vector<TableSource>& found,
                                  const std::filesystem::path& data, std::string_view backend,
                                  std::string_view table) const;

  std::filesystem::path root_;
  bool shipped_ = false;
  std::shared_ptr<Known> known_;
};

}  // namespace dsaperf::perfdb
