#include "db.hpp"
#include "db_tables.hpp"
#include "document.hpp"
#include "dsaperf/collect/tables.hpp"
#include "dsaperf/core/data_dir.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/cost/device_name.hpp"
#include "dsaperf/perfdb/aic_export.hpp"
#include "dsaperf/perfdb/diff.hpp"
#include "dsaperf/perfdb/own_table.hpp"
#include "dsaperf/report/lint.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

// The db commands that read what `dsaperf collect` wrote: merge, export and diff.
namespace dsaperf::tool {
namespace {

using nlohmann::ordered_json;
using perfdb::Phase;

struct DbJournalsOptions {
  std::vector<std::string> places;
  std::string output, before, after, systems_root;
  std::string system = "h200_sxm", backend = "sglang";
  double tolerance = 0.03;
  bool allow_fake = false;
  bool json = false;
};

std::vector<std::filesystem::path> paths(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

Result<ExitCode> merge(const DbJournalsOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto merged, collect::merge_journals(paths(options.places)));
  DSAPERF_TRY_ASSIGN(auto journal, collect::Journal::open(options.output, merged.header, false));
  for (const auto& [id, entry] : merged.entries) DSAPERF_TRY(journal.append(entry));
  const auto table = collect::full_table(merged.header, merged.entries);
  const auto file = std::filesystem::path(options.output) / "rows.parquet";
  DSAPERF_TRY(perfdb::write_columns(file, table.columns, table.metadata));
  if (options.json) {
    print_document(ordered_json{{"format", "dsaperf.db.merge.1"},
                                {"journal", journal.path().string()},
                                {"table", file.string()},
                                {"cases", merged.entries.size()},
                                {"conflicts", merged.conflicts},
                                {"warnings", ordered_json::array()}});
  } else {
    fmt::print("{}: {} cases, {} in conflict\n", journal.path().string(), merged.entries.size(),
               merged.conflicts.size());
    for (const auto& conflict : merged.conflicts)
      fmt::print("conflict, first kept: {}\n", conflict);
  }
  return merged.conflicts.empty() ? ExitCode::kDone : ExitCode::kVerdictNo;
}

// What an export is of: rows of both phases, and who measured them.
struct Exported {
  std::vector<perfdb::DsaTable> tables;
  std::string framework, version, device;
};

Result<Exported> exported_journals(const std::vector<std::string>& places) {
  DSAPERF_TRY_ASSIGN(const auto merged, collect::merge_journals(paths(places)));
  if (!merged.conflicts.empty()) {
    return fail(Errc::kInvalidArgument,
                "{} cases were measured twice with different results (first: {}): "
                "dsaperf db merge shows them",
                merged.conflicts.size(), merged.conflicts.front());
  }
  const auto& source = merged.header.source;
  return Exported{.tables = {collect::dsa_table(merged.header, merged.entries, Phase::kContext),
                             collect::dsa_table(merged.header, merged.entries, Phase::kGeneration)},
                  .framework = source.framework,
                  .version = source.version,
                  .device = source.device};
}

Result<Exported> exported_folder(const std::filesystem::path& folder) {
  Exported exported;
  for (const auto phase : {Phase::kContext, Phase::kGeneration}) {
    DSAPERF_TRY_ASSIGN(auto own, perfdb::read_own_folder(folder, phase));
    exported.tables.push_back(std::move(own.table));
    exported.framework = own.about.framework;
    exported.version = own.about.version;
    exported.device = own.about.device;
  }
  return exported;
}

// Journals, a folder of our tables, or, where no place is named, the shipped ones of the system.
Result<Exported> exported_from(const DbJournalsOptions& options) {
  if (options.places.empty()) {
    DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::shipped());
    DSAPERF_TRY_ASSIGN(const auto system, tree.system(options.system));
    return exported_folder(system.data);
  }
  const std::filesystem::path first = options.places.front();
  if (options.places.size() == 1 && !holds_journals(first) &&
      !perfdb::own_table_files(first).empty()) {
    return exported_folder(first);
  }
  return exported_journals(options.places);
}

// AIConfigurator would answer for the card with whatever it is handed. Rows that were imported from
// its tables name the system, made-up ones have been asked about; of a card without figures here
// there is nothing to compare with.
Result<void> check_device(const std::string& device, const std::string& system) {
  if (device == system || device.starts_with("fake")) return {};
  DSAPERF_TRY_ASSIGN(const auto data, data_dir());
  const auto card = cost::find_system(data, system);
  if (!card || cost::is_called(*card, device)) return {};
  return fail(Errc::kInvalidArgument, "rows of '{}' are not exported as those of {} ({})", device,
              system, card->device);
}

Result<ExitCode> export_tables(const DbJournalsOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto exported, exported_from(options));
  const auto& tables = exported.tables;
  if (exported.device.starts_with("fake") && !options.allow_fake) {
    return fail(Errc::kInvalidArgument,
                "these times are made up (device '{}'): --allow-fake exports them nevertheless",
                exported.device);
  }
  DSAPERF_TRY(check_device(exported.device, options.system));
  DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::discover(options.systems_root));
  if (tree.is_shipped()) {
    return fail(Errc::kNotFound,
                "no systems folder of AIConfigurator whose other tables could be linked: `pip "
                "install aiconfigurator-core==0.12.0` brings one, --systems names one");
  }
  DSAPERF_TRY_ASSIGN(const auto report,
                     perfdb::export_to_aiconfigurator(tables,
                                                      {.system = options.system,
                                                       .backend = options.backend,
                                                       .framework = exported.framework,
                                                       .version = exported.version,
                                                       .device = exported.device},
                                                      tree, options.output));
  const auto rows = tables[0].rows.size() + tables[1].rows.size();
  if (options.json) {
    ordered_json files = ordered_json::array();
    for (const auto& file : report.files) files.push_back(file.string());
    print_document(ordered_json{{"format", "dsaperf.db.export.1"},
                                {"system", report.system},
                                {"rows", rows},
                                {"files", std::move(files)},
                                {"warnings", report.warnings}});
  } else {
    fmt::print("{} rows as system {} in {}\n", rows, report.system, options.output);
  }
  for (const auto& warning : report.warnings) fmt::print(stderr, "warning: {}\n", warning);
  return ExitCode::kDone;
}

std::string row_text(const perfdb::DsaTable& table, std::size_t index) {
  const auto& row = table.rows[index];
  const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
  return fmt::format("kv {} gemm {} heads {} batch {} new {} past {}", slice.kv_dtype,
                     slice.gemm_dtype, row.heads, row.batch, row.new_tokens, row.past_tokens);
}

ordered_json rows_to_json(const perfdb::DsaTable& before, const perfdb::DsaTable& after,
                          const std::vector<perfdb::DiffRow>& rows) {
  ordered_json list = ordered_json::array();
  for (const auto& row : rows) {
    list.push_back({{"key", row_text(before, row.before)},
                    {"before_ms", before.rows[row.before].latency.millis()},
                    {"after_ms", after.rows[row.after].latency.millis()},
                    {"ratio", row.ratio}});
  }
  return list;
}

// What `db diff` shows of the tables of one phase after the other.
class Differences {
 public:
  // Of tables of one phase.
  void add(const perfdb::DsaTable& a, const perfdb::DsaTable& b, double tolerance) {
    const auto result = perfdb::diff(a, b, tolerance);
    matched_ += result.matched();
    phases_text_.add_row(
        {std::string(perfdb::name(a.phase)), fmt::format("{}", result.matched()),
         fmt::format("{}", result.faster.size()), fmt::format("{}", result.same.size()),
         fmt::format("{}", result.slower.size()), fmt::format("{}", result.only_before),
         fmt::format("{}", result.only_after), fmt::format("{:.3f}", result.geometric_mean())});
    phases_.push_back({{"phase", perfdb::name(a.phase)},
                       {"matched", result.matched()},
                       {"geometric_mean_ratio", result.geometric_mean()},
                       {"groups", groups_of(a, result)},
                       {"faster", rows_to_json(a, b, result.faster)},
                       {"same", rows_to_json(a, b, result.same)},
                       {"slower", rows_to_json(a, b, result.slower)},
                       {"only_before", result.only_before},
                       {"only_after", result.only_after}});
  }

  std::size_t matched() const { return matched_; }
  const ordered_json& phases() const { return phases_; }
  std::string text(const TextStyle& style) const {
    return phases_text_.str(style) + "\n" + groups_text_.str(style);
  }

 private:
  ordered_json groups_of(const perfdb::DsaTable& table, const perfdb::TableDiff& result) {
    ordered_json groups = ordered_json::array();
    for (const auto& group : perfdb::groups(table, result, topk_)) {
      groups_text_.add_row({std::string(perfdb::name(table.phase)), std::string(name(group.regime)),
                            fmt::format("{}", group.heads), fmt::format("{}", group.rows),
                            fmt::format("{}", group.ahead),
                            fmt::format("{:.3f}", group.geometric_mean),
                            fmt::format("{:.3f}", group.worst)});
      groups.push_back({{"regime", name(group.regime)},
                        {"heads", group.heads},
                        {"rows", group.rows},
                        {"not_slower", group.ahead},
                        {"geometric_mean_ratio", group.geometric_mean},
                        {"least_ratio", group.worst}});
    }
    return groups;
  }

  const std::function<int(const perfdb::DsaSlice&)> topk_ = report::lint_physics(std::nullopt).topk;
  std::size_t matched_ = 0;
  ordered_json phases_ = ordered_json::array();
  TextTable phases_text_{{{"phase"},
                          {"matched", TextTable::Align::kRight},
                          {"faster", TextTable::Align::kRight},
                          {"same", TextTable::Align::kRight},
                          {"slower", TextTable::Align::kRight},
                          {"only A", TextTable::Align::kRight},
                          {"only B", TextTable::Align::kRight},
                          {"A / B", TextTable::Align::kRight}}};
  TextTable groups_text_{{{"phase"},
                          {"regime"},
                          {"heads", TextTable::Align::kRight},
                          {"rows", TextTable::Align::kRight},
                          {"B not slower", TextTable::Align::kRight},
                          {"A / B", TextTable::Align::kRight},
                          {"least", TextTable::Align::kRight}}};
};

Result<ExitCode> diff(const DbJournalsOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto before, tables_at(options.before));
  DSAPERF_TRY_ASSIGN(const auto after, tables_at(options.after));
  Differences differences;
  for (const auto& a : before) {
    for (const auto& b : after) {
      if (a.phase == b.phase) differences.add(a, b, options.tolerance);
    }
  }
  if (differences.matched() == 0) {
    return fail(Errc::kNotFound, "{} and {} have no row in common", options.before, options.after);
  }
  if (options.json) {
    print_document(ordered_json{{"format", "dsaperf.db.diff.1"},
                                {"before", options.before},
                                {"after", options.after},
                                {"tolerance", options.tolerance},
                                {"phases", differences.phases()},
                                {"warnings", ordered_json::array()}});
  } else {
    fmt::print("A: {}\nB: {}\n\n{}", options.before, options.after,
               differences.text(TextStyle::of_descriptor(STDOUT_FILENO)));
  }
  return ExitCode::kDone;
}

void declare_merge(Command& command) {
  auto merging = std::make_shared<DbJournalsOptions>();
  command.add_option("PLACES", merging->places, "Folders of dsaperf collect, or journals")
      .required();
  command.add_option("-o,--output", merging->output, "Folder of the merged journal and table")
      .required();
  command.add_flag("--json", merging->json, "One JSON document");
  command.footer(
      "Exit code 3: two journals disagree on a case (the first is kept, all are listed).\n"
      "Example:\n  dsaperf db merge rows -o merged");
  command.callback([merging] { return merge(*merging); });
}

void declare_export(Command& command) {
  auto exporting = std::make_shared<DbJournalsOptions>();
  command.add_option("PLACES", exporting->places,
                     "Folders of dsaperf collect, journals, or a folder of tables "
                     "(default: the shipped ones of --system)");
  command.add_option("--aiconfigurator", exporting->output, "Systems folder to write").required();
  command.add_option("--system", exporting->system, "The card, as AIConfigurator names it")
      .show_default();
  command.add_option("--backend", exporting->backend, "trtllm, sglang or vllm").show_default();
  command.add_option(
      "--systems", exporting->systems_root,
      "Installed systems folder whose other tables are linked (else found by itself)");
  command.add_flag("--allow-fake", exporting->allow_fake, "Export times of --timing fake");
  command.add_flag("--json", exporting->json, "One JSON document");
  command.footer(
      "Example:\n  dsaperf db export rows --aiconfigurator systems --system h200_sxm\n"
      "  aiconfigurator cli estimate --systems-paths systems --system h200_sxm_dsaperf ...");
  command.callback([exporting] { return export_tables(*exporting); });
}

void declare_diff(Command& command) {
  auto comparing = std::make_shared<DbJournalsOptions>();
  command.add_option("A", comparing->before, "A module table, its folder, or a folder of journals")
      .required();
  command.add_option("B", comparing->after, "The other").required();
  command
      .add_option("--tolerance", comparing->tolerance,
                  "Difference that needs no explanation, beside the spread of both rows")
      .not_negative()
      .show_default();
  command.add_flag("--json", comparing->json, "One JSON document, with every row");
  command.footer("Example:\n  dsaperf db diff sglang/0.5.14 rows");
  command.callback([comparing] { return diff(*comparing); });
}

}  // namespace

void add_db_journals(Command& db) {
  db.add_command("merge", "Journals of shards or pieces into one", declare_merge);
  db.add_command("export", "Measured rows as tables that AIConfigurator loads", declare_export);
  db.add_command("diff", "Two tables side by side: faster, same, slower", declare_diff);
}

}  // namespace dsaperf::tool
