#include "db_tables.hpp"

#include "dsaperf/collect/tables.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"

namespace dsaperf::tool {

using perfdb::Phase;

Result<std::vector<perfdb::DsaTable>> tables_at(const std::filesystem::path& place) {
  std::vector<perfdb::DsaTable> tables;
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    const auto inside = place / perfdb::dsa_table_file(phase);
    const bool is_file = place.filename() == perfdb::dsa_table_file(phase);
    if (!is_file && !std::filesystem::exists(inside)) continue;
    DSAPERF_TRY_ASSIGN(auto table, perfdb::read_dsa_file(is_file ? place : inside, phase));
    tables.push_back(std::move(table));
  }
  if (!tables.empty()) return tables;
  DSAPERF_TRY_ASSIGN(const auto merged, collect::merge_journals({place}));
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    tables.push_back(collect::dsa_table(merged.header, merged.entries, phase));
  }
  return tables;
}

Result<InstalledTables> installed_tables(const std::filesystem::path& systems_root,
                                         const std::string& system, const std::string& backend,
                                         const std::string& version) {
  DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::discover(systems_root));
  InstalledTables result;
  DSAPERF_TRY_ASSIGN(result.version, tree.resolve_version(system, backend, version));
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    DSAPERF_TRY_ASSIGN(auto table,
                       perfdb::load_dsa_table(tree, system, backend, result.version, phase));
    result.tables.push_back(std::move(table));
  }
  return result;
}

}  // namespace dsaperf::tool
