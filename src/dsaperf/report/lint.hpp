#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/perfdb/lint.hpp"

#include <nlohmann/json_fwd.hpp>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::report {

// One table and what lint says of it.
struct LintedTable {
  std::filesystem::path path;
  perfdb::DsaTable table;
  std::vector<perfdb::LintFinding> findings;
  std::vector<std::string> siblings = {};  // cards whose tables it was compared with
};

// Layers of the bundled models behind a table's slices, and the card's lower bound for their rows.
// `system` empty: nothing is known of the card, and no bound is checked.
perfdb::LintPhysics lint_physics(const std::optional<cost::SystemSpec>& system);

// A table of the card `system`, checked by itself.
LintedTable lint_table(const std::filesystem::path& path, perfdb::DsaTable table,
                       const std::optional<cost::SystemSpec>& system);

// The tables at or below a place, and files beside them that do not say that they are tables of
// dsaperf collect: other programs' Parquet.
struct LintedPlace {
  std::vector<LintedTable> tables;
  std::vector<std::filesystem::path> left_out = {};
};

// Every dsa_*_module_perf.parquet and every table of dsaperf collect at or below `place`, read and
// checked. The card of a file is the known system that a folder above it is named after; it is
// compared with the table of the same place under cards of the same generation, where there are
// such. Fails where there is no table at all, and where one cannot be read.
Result<LintedPlace> lint_tables(const std::filesystem::path& place);

// Whether a file that lint_tables found is a table of dsaperf collect, not of AIConfigurator's
// tree.
bool is_own_table(const std::filesystem::path& path);

bool is_clean(const std::vector<LintedTable>& tables);

// `rows`: how many rows of each finding are listed (0: none).
std::string text(const std::vector<LintedTable>& tables, std::size_t rows, const TextStyle& style);
nlohmann::ordered_json json(const std::vector<LintedTable>& tables);

}  // namespace dsaperf::report
