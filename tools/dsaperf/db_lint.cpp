#include "db.hpp"
#include "db_tables.hpp"
#include "document.hpp"
#include "dsaperf/collect/row_lint.hpp"
#include "dsaperf/collect/tables.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/wrapped.hpp"
#include "dsaperf/cost/device_name.hpp"
#include "dsaperf/perfdb/columns.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/report/lint.hpp"
#include "systems_flag.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

struct DbLintOptions {
  std::string place, systems_root, system = "h200_sxm";
  std::size_t rows = 0;
  bool json = false;
};

// The known system that a device's name begins with, less the maker: "NVIDIA H200" of h200_sxm.
Result<std::optional<cost::SystemSpec>> card_of(const collect::SourceInfo& source) {
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  constexpr std::string_view kFake = "fake ";
  if (!source.device.starts_with(kFake)) return cost::card_called(data, source.device);
  DSAPERF_TRY_ASSIGN(auto system, cost::find_system(data, source.device.substr(kFake.size())));
  return system;
}

// What the rows of one collection, or of a table of one, say of themselves.
struct LintedRows {
  std::filesystem::path place;
  std::vector<collect::RowFinding> findings;
};

struct Linted {
  std::vector<report::LintedTable> tables;
  std::vector<LintedRows> rows;
  std::vector<std::filesystem::path> left_out = {};  // Parquet files that are no tables

  bool is_clean() const {
    return report::is_clean(tables) && std::ranges::all_of(rows, [](const LintedRows& linted) {
             return std::ranges::all_of(linted.findings, [](const collect::RowFinding& finding) {
               return collect::is_note(finding.rule);
             });
           });
  }
};

Result<Linted> lint_journals(const std::filesystem::path& place) {
  DSAPERF_TRY_ASSIGN(const auto merged, collect::merge_journals({place}));
  DSAPERF_TRY_ASSIGN(const auto system, card_of(merged.header.source));
  Linted linted;
  linted.rows.push_back({place, collect::lint_rows(merged.entries, merged.header.source.method,
                                                   system ? &*system : nullptr)});
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    auto table = collect::dsa_table(merged.header, merged.entries, phase);
    if (table.rows.empty()) continue;
    linted.tables.push_back(
        report::lint_table(place / perfdb::name(phase), std::move(table), system));
  }
  return linted;
}

// Our tables of products at or below a place. AIConfigurator's, of the same name, say nothing of
// themselves but the latency.
Result<void> lint_products(const std::filesystem::path& place, Linted& linted) {
  std::vector<std::filesystem::path> files;
  const auto take = [&](const std::filesystem::path& path) {
    if (path.filename().native().ends_with(perfdb::kGemmTable)) files.push_back(path);
  };
  if (std::filesystem::is_regular_file(place)) take(place);
  std::error_code ignored;  // a folder that cannot be read holds no table that we could check
  for (const auto& entry : std::filesystem::recursive_directory_iterator(place, ignored)) {
    take(entry.path());
  }
  std::ranges::sort(files);
  for (const auto& path : files) {
    DSAPERF_TRY_ASSIGN(const auto about, perfdb::read_columns(path, {}));
    if (!about.metadata.contains("format")) continue;
    DSAPERF_TRY_ASSIGN(const auto content, collect::read_gemm_table(path));
    DSAPERF_TRY_ASSIGN(const auto card, card_of(content.header.source));
    linted.rows.push_back({path, collect::lint_rows(content.entries, content.header.source.method,
                                                    card ? &*card : nullptr)});
  }
  return {};
}

// Tables below a place; what rows say of themselves only those of dsaperf collect keep.
Result<Linted> lint_tables(const std::filesystem::path& place) {
  Linted linted;
  DSAPERF_TRY(lint_products(place, linted));
  if (std::filesystem::is_regular_file(place) && !linted.rows.empty()) return linted;
  auto found = report::lint_tables(place);
  if (!found) {
    const bool only_products = found.error().code() == Errc::kNotFound && !linted.rows.empty();
    if (!only_products) return tl::unexpected(std::move(found).error());
    return linted;
  }
  linted.tables = std::move(found->tables);
  linted.left_out = std::move(found->left_out);
  for (const auto& table : linted.tables) {
    const bool is_new = linted.rows.empty() || linted.rows.back().place != table.path;
    if (!is_new || !report::is_own_table(table.path)) continue;
    DSAPERF_TRY_ASSIGN(const auto content, collect::read_full_table(table.path));
    linted.rows.push_back(
        {table.path, collect::lint_rows(content.entries, content.header.source.method)});
  }
  return linted;
}

std::string text(const std::vector<LintedRows>& rows, std::size_t at_most, int width) {
  std::string result;
  for (const auto& [place, findings] : rows) {
    for (const auto& finding : findings) {
      const auto line =
          fmt::format("{}: {}{}: {} rows: {}\n", place.native(), collect::name(finding.rule),
                      collect::is_note(finding.rule) ? " (note)" : "", finding.rows.size(),
                      collect::meaning(finding.rule));
      result += wrapped(line, width, {.indent = "  "});
      for (std::size_t k = 0; k < std::min(at_most, finding.rows.size()); ++k) {
        result += fmt::format("  {}\n", finding.rows[k]);
      }
    }
  }
  return result;
}

nlohmann::ordered_json json(const Linted& linted) {
  auto document = report::json(linted.tables);
  document["left_out"] = nlohmann::ordered_json::array();
  for (const auto& path : linted.left_out) document["left_out"].push_back(path.string());
  document["clean"] = linted.is_clean();
  document["row_findings"] = nlohmann::ordered_json::array();
  for (const auto& [place, findings] : linted.rows) {
    for (const auto& finding : findings) {
      document["row_findings"].push_back({{"path", place.string()},
                                          {"rule", collect::name(finding.rule)},
                                          {"meaning", collect::meaning(finding.rule)},
                                          {"note", collect::is_note(finding.rule)},
                                          {"rows", finding.rows}});
    }
  }
  return document;
}

Result<Linted> lint_place(const DbLintOptions& options) {
  if (holds_journals(options.place)) return lint_journals(options.place);
  std::filesystem::path place = options.place;
  if (place.empty()) {
    DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::discover(options.systems_root));
    DSAPERF_TRY_ASSIGN(const auto system, tree.system(options.system));
    place = system.data;
  }
  return lint_tables(place);
}

Result<ExitCode> lint(const DbLintOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto linted, lint_place(options));
  if (options.json) {
    print_document(json(linted));
  } else {
    const auto style = TextStyle::of_descriptor(1);
    fmt::print("{}{}", report::text(linted.tables, options.rows, style),
               text(linted.rows, options.rows, style.width));
    for (const auto& path : linted.left_out)
      fmt::print("{}: left out, it does not say that it is a table of dsaperf collect\n",
                 path.native());
  }
  return linted.is_clean() ? ExitCode::kDone : ExitCode::kVerdictNo;
}

void declare_db_lint(Command& command) {
  auto options = std::make_shared<DbLintOptions>();
  command.add_option(
      "PLACE", options->place,
      "A table, a folder of tables, or of dsaperf collect (default: AIConfigurator's of --system)");
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "One card").show_default();
  command.add_option("--rows", options->rows, "List this many rows of each finding");
  command.add_flag("--json", options->json, "One JSON document, with every row");
  command.footer(
      "Exit code 3: there are findings (notes do not count).\n"
      "Example:\n  dsaperf db lint --system h200_sxm --rows 3");
  command.callback([options] { return lint(*options); });
}

}  // namespace

void add_db_lint(Command& db) {
  db.add_command("lint", "Rows that physics does not allow", declare_db_lint);
}

}  // namespace dsaperf::tool
