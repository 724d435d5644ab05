#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {

// The tables of a place: one module table, the module tables of a folder, a table of ours or a
// folder of them, or both phases of what `dsaperf collect` left in a folder.
Result<std::vector<perfdb::DsaTable>> tables_at(const std::filesystem::path& place);

// Whether a folder holds journals of `dsaperf collect`, or is one.
bool holds_journals(const std::filesystem::path& place);

// The tables that answer: those that SystemsTree::discover finds, or ours where `backend` names
// them. Where ours are all there is, a backend that nobody named is ours.
struct OpenedTables {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  std::string backend;
};
Result<OpenedTables> open_tables(const std::filesystem::path& systems_root,
                                 const std::string& backend, bool backend_is_given);

// What an estimate over our own tables must say.
std::string modelled_beside_ours(const std::string& system);

// Those of a system and version ("": current), both phases.
struct InstalledTables {
  std::string version;
  std::vector<perfdb::DsaTable> tables;
};
Result<InstalledTables> installed_tables(const OpenedTables& opened, const std::string& system,
                                         const std::string& version);

}  // namespace dsaperf::tool
