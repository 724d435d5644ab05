#include "db_tables.hpp"

#include "dsaperf/collect/tables.hpp"
#include "dsaperf/perfdb/own_table.hpp"

namespace dsaperf::tool {

using perfdb::Phase;

bool holds_journals(const std::filesystem::path& place) {
  const auto is_journal = [](const std::filesystem::path& path) {
    const auto name = path.filename().string();
    return name.starts_with("rows") && name.ends_with(".jsonl");
  };
  if (is_journal(place)) return true;
  std::error_code ignored;  // what cannot be read holds none
  for (const auto& entry : std::filesystem::directory_iterator(place, ignored)) {
    if (is_journal(entry.path())) return true;
  }
  return false;
}

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
  const bool is_own = place.extension() == ".parquet";
  if (is_own || (!holds_journals(place) && !perfdb::own_table_files(place).empty())) {
    for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
      DSAPERF_TRY_ASSIGN(auto own, is_own ? perfdb::read_own_table(place, phase)
                                          : perfdb::read_own_folder(place, phase));
      tables.push_back(std::move(own.table));
    }
    return tables;
  }
  DSAPERF_TRY_ASSIGN(const auto merged, collect::merge_journals({place}));
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    tables.push_back(collect::dsa_table(merged.header, merged.entries, phase));
  }
  return tables;
}

Result<InstalledTables> installed_tables(const predict::OpenedTables& opened,
                                         const std::string& system, const std::string& version) {
  const auto& [tree, backend] = opened;
  InstalledTables result;
  DSAPERF_TRY_ASSIGN(result.version, tree->resolve_version(system, backend, version));
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    DSAPERF_TRY_ASSIGN(auto table,
                       perfdb::load_dsa_table(*tree, system, backend, result.version, phase));
    result.tables.push_back(std::move(table));
  }
  return result;
}

}  // namespace dsaperf::tool
