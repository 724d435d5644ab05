#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace dsaperf::tool {

// The tables of a place: one module table, the module tables of a folder, or both phases of what
// `dsaperf collect` left in a folder.
Result<std::vector<perfdb::DsaTable>> tables_at(const std::filesystem::path& place);

// AIConfigurator's tables that answer for a system, backend and version ("": current), both phases.
struct InstalledTables {
  std::string version;
  std::vector<perfdb::DsaTable> tables;
};
Result<InstalledTables> installed_tables(const std::filesystem::path& systems_root,
                                         const std::string& system, const std::string& backend,
                                         const std::string& version);

}  // namespace dsaperf::tool
