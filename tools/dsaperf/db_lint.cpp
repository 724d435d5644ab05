#include "db.hpp"
#include "db_tables.hpp"
#include "dsaperf/collect/row_lint.hpp"
#include "dsaperf/collect/tables.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/cost/device_name.hpp"
#include "dsaperf/report/lint.hpp"
#include "systems_flag.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

struct Options {
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

// A collection: its latencies as a table's, and what each row says of itself.
struct LintedJournal {
  std::vector<report::LintedTable> tables;
  std::vector<collect::RowFinding> rows;
};

Result<LintedJournal> lint_journals(const std::filesystem::path& place) {
  DSAPERF_TRY_ASSIGN(const auto merged, collect::merge_journals({place}));
  DSAPERF_TRY_ASSIGN(const auto system, card_of(merged.header.source));
  LintedJournal linted{.tables = {},
                       .rows = collect::lint_rows(merged.entries, merged.header.source.method)};
  for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
    auto table = collect::dsa_table(merged.header, merged.entries, phase);
    if (table.rows.empty()) continue;
    linted.tables.push_back(
        report::lint_table(place / perfdb::name(phase), std::move(table), system));
  }
  return linted;
}

std::string text(const std::vector<collect::RowFinding>& findings, std::size_t at_most) {
  std::string result;
  for (const auto& finding : findings) {
    result += fmt::format("{}: {} rows: {}\n", collect::name(finding.rule), finding.rows.size(),
                          collect::meaning(finding.rule));
    for (std::size_t k = 0; k < std::min(at_most, finding.rows.size()); ++k) {
      result += fmt::format("  {}\n", finding.rows[k]);
    }
  }
  return result;
}

Result<ExitCode> lint_collection(const Options& options) {
  DSAPERF_TRY_ASSIGN(const auto linted, lint_journals(options.place));
  const bool clean = report::is_clean(linted.tables) && linted.rows.empty();
  if (options.json) {
    auto document = report::json(linted.tables);
    document["clean"] = clean;
    document["row_findings"] = nlohmann::ordered_json::array();
    for (const auto& finding : linted.rows) {
      document["row_findings"].push_back({{"rule", collect::name(finding.rule)},
                                          {"meaning", collect::meaning(finding.rule)},
                                          {"rows", finding.rows}});
    }
    fmt::print("{}\n", document.dump(2));
  } else {
    fmt::print("{}{}", report::text(linted.tables, options.rows, TextStyle::of_descriptor(1)),
               text(linted.rows, options.rows));
  }
  return clean ? ExitCode::kDone : ExitCode::kVerdictNo;
}

Result<ExitCode> lint(const Options& options) {
  if (holds_journals(options.place)) return lint_collection(options);
  std::filesystem::path place = options.place;
  if (place.empty()) {
    DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::discover(options.systems_root));
    DSAPERF_TRY_ASSIGN(const auto system, tree.system(options.system));
    place = system.data;
  }
  DSAPERF_TRY_ASSIGN(const auto tables, report::lint_tables(place));
  std::fputs((options.json ? report::json(tables).dump(2) + '\n'
                           : report::text(tables, options.rows, TextStyle::of_descriptor(1)))
                 .c_str(),
             stdout);
  return report::is_clean(tables) ? ExitCode::kDone : ExitCode::kVerdictNo;
}

}  // namespace

void add_db_lint(CLI::App& db, Run& run) {
  auto* command = db.add_subcommand("lint", "Rows that physics does not allow");
  auto options = std::make_shared<Options>();
  command->add_option(
      "PLACE", options->place,
      "A table, a folder of tables, or of dsaperf collect (default: AIConfigurator's of --system)");
  add_systems(*command, options->systems_root);
  command->add_option("--system", options->system, "One card")->capture_default_str();
  command->add_option("--rows", options->rows, "List this many rows of each finding");
  command->add_flag("--json", options->json, "One JSON document, with every row");
  command->footer(
      "Exit code 3: there are findings (notes do not count).\n"
      "Example:\n  dsaperf db lint --system h200_sxm --rows 3");
  command->callback([options, &run] { run = [options] { return lint(*options); }; });
}

}  // namespace dsaperf::tool
