#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/predict/opened_tables.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace dsaperf::tool {

// The tables of a place: one module table, the module tables of a folder, a table of ours or a
// folder of them, or both phases of what `dsaperf collect` left in a folder.
Result<std::vector<perfdb::DsaTable>> tables_at(const std::filesystem::path& place);

// Whether a folder holds journals of `dsaperf collect`, or is one.
bool holds_journals(const std::filesystem::path& place);

// Those of a system and version ("": current), both phases.
struct InstalledTables {
  std::string version;
  std::vector<perfdb::DsaTable> tables;
};
Result<InstalledTables> installed_tables(const predict::OpenedTables& opened,
                                         const std::string& system, const std::string& version);

}  // namespace dsaperf::tool
