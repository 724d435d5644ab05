#include "db.hpp"
#include "db_tables.hpp"
#include "document.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/perfdb/aic_export.hpp"
#include "dsaperf/perfdb/method_table.hpp"
#include "systems_flag.hpp"

#include <nlohmann/json.hpp>

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

namespace dsaperf::tool {
namespace {

using nlohmann::ordered_json;

struct DbImportOptions {
  std::string csv, model, gemm, output, systems_root, system = "h200_sxm", backend, version;
  bool json = false;
};

// Tables to be written, and where they come from.
struct Imported {
  std::vector<perfdb::DsaTable> tables;
  perfdb::AicExport source;
  std::vector<std::string> warnings;
};

Result<Imported> from_csv(const DbImportOptions& options) {
  if (options.model.empty()) {
    // Of a file that is empty, or not there, reading says so, whatever the model.
    std::error_code unknown;
    const auto status = std::filesystem::status(options.csv, unknown);
    const bool is_empty = std::filesystem::is_regular_file(status) &&
                          std::filesystem::file_size(options.csv, unknown) == 0;
    if (is_empty || !std::filesystem::exists(status))
      DSAPERF_TRY(perfdb::read_method_csv(options.csv, {}));
    return fail(Errc::kInvalidArgument,
                "{}: its lines don't say the model: --model deepseek-ai/DeepSeek-V3.2",
                options.csv);
  }
  DSAPERF_TRY_ASSIGN(const auto spec, model::load_model(options.model));
  const auto layer = model::typical_layer(spec);
  if (!layer.indexer) {
    return fail(Errc::kInvalidArgument, "{} has no sparse attention that such a file could be of",
                spec.name);
  }
  Imported imported;
  auto gemm = options.gemm;
  if (gemm.empty()) {
    gemm = "bfloat16";
    imported.warnings.emplace_back(
        "the file does not say the projections' format: bfloat16 assumed (--gemm says another)");
  }
  DSAPERF_TRY_ASSIGN(auto read,
                     perfdb::read_method_csv(options.csv, {.model = spec.name,
                                                           .architecture = spec.architecture,
                                                           .gemm_dtype = gemm,
                                                           .heads = layer.geometry.heads,
                                                           .index_heads = layer.indexer->heads,
                                                           .topk = layer.indexer->topk}));
  imported.warnings.insert(imported.warnings.end(), read.warnings.begin(), read.warnings.end());
  if (read.other_rows > 0) {
    imported.warnings.push_back(
        fmt::format("{} rows of operators that are no DSA layers left out", read.other_rows));
  }
  imported.source = {.system = options.system,
                     .backend = {},
                     .framework = read.framework,
                     .version = read.version,
                     .device = read.device};
  imported.tables = {std::move(read.context), std::move(read.generation)};
  return imported;
}

Result<Imported> from_installed(const DbImportOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto opened,
                     predict::open_tables(options.systems_root, options.backend, true));
  DSAPERF_TRY_ASSIGN(auto installed, installed_tables(opened, options.system, options.version));
  Imported imported;
  imported.source = {.system = options.system,
                     .backend = options.backend,
                     .framework = options.backend,
                     .version = installed.version,
                     .device = options.system};
  for (auto& table : installed.tables) {
    for (const auto& source : table.sources) {
      if (source.channel == perfdb::SourceChannel::kPrimary) continue;
      imported.warnings.push_back(fmt::format("{}: also rows of {} {} ({})",
                                              perfdb::name(table.phase), source.backend,
                                              source.version, perfdb::name(source.channel)));
    }
    auto answers = perfdb::answering_rows(table);
    if (answers.repeated > 0 || answers.unusable > 0) {
      imported.warnings.push_back(fmt::format(
          "{}: {} rows that an earlier source or a later row answers for, {} without a usable "
          "latency left out",
          perfdb::name(table.phase), answers.repeated, answers.unusable));
    }
    imported.tables.push_back(std::move(answers.table));
  }
  return imported;
}

Result<ExitCode> import_tables(const DbImportOptions& options) {
  if (options.csv.empty() == options.backend.empty()) {
    return fail(Errc::kInvalidArgument,
                "db import takes a CSV file, or --backend for AIConfigurator's tables");
  }
  DSAPERF_TRY_ASSIGN(const auto imported,
                     options.csv.empty() ? from_installed(options) : from_csv(options));
  ordered_json files = ordered_json::array();
  std::string text;
  for (const auto& table : imported.tables) {
    if (table.rows.empty()) continue;
    const auto path = std::filesystem::path(options.output) / perfdb::dsa_table_file(table.phase);
    if (std::filesystem::exists(path)) {
      return fail(Errc::kInvalidArgument, "{}: is there already; choose another folder",
                  path.native());
    }
    DSAPERF_TRY(perfdb::write_dsa_file(path, table, imported.source));
    files.push_back({{"path", path.string()}, {"rows", table.rows.size()}});
    text += fmt::format("{}: {} rows\n", path.native(), table.rows.size());
  }
  if (options.json) {
    print_document(ordered_json{{"format", "dsaperf.db.import.1"},
                                {"framework", imported.source.framework},
                                {"version", imported.source.version},
                                {"device", imported.source.device},
                                {"files", std::move(files)},
                                {"warnings", imported.warnings}});
  } else {
    fmt::print("{} {} on {}\n{}", imported.source.framework, imported.source.version,
               imported.source.device, text);
  }
  for (const auto& warning : imported.warnings) fmt::print(stderr, "warning: {}\n", warning);
  return ExitCode::kDone;
}

void declare_db_import(Command& command) {
  auto options = std::make_shared<DbImportOptions>();
  command.add_option("CSV", options->csv,
                     "framework,version,device,op_name,... as the collectors write it, also .gz");
  command.add_option("-o,--output", options->output, "Folder of the tables").required();
  command.add_option("--model", options->model, "The model that the CSV was measured with");
  command.add_option("--gemm", options->gemm,
                     "Format of the CSV's projections: bfloat16, fp8_block");
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "One card").show_default();
  command.add_option("--backend", options->backend,
                     "Import AIConfigurator's tables: trtllm, sglang or vllm");
  command.add_option("--version", options->version, "current, next or a number");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Of AIConfigurator's tables the rows are taken that it would answer with: the first source "
      "that\n"
      "has a point, and the last of repeated rows.\n"
      "Examples:\n  dsaperf db import dsa.csv --model deepseek-ai/DeepSeek-V3.2 -o imported\n"
      "  dsaperf db import --backend sglang --system h200_sxm -o sglang");
  command.callback([options] { return import_tables(*options); });
}

}  // namespace

void add_db_import(Command& db) {
  db.add_command("import", "A collector's CSV, or AIConfigurator's rows, as tables that db reads",
                 declare_db_import);
}

}  // namespace dsaperf::tool
