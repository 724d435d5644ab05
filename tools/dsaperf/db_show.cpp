#include "db.hpp"
#include "db_tables.hpp"
#include "document.hpp"
#include "dsaperf/report/table_view.hpp"
#include "dtype_flag.hpp"
#include "systems_flag.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

namespace dsaperf::tool {
namespace {

using nlohmann::ordered_json;

const std::map<std::string, report::RowSize> kAxes = {{"heads", report::RowSize::kHeads},
                                                      {"batch", report::RowSize::kBatch},
                                                      {"new", report::RowSize::kNewTokens},
                                                      {"past", report::RowSize::kPastTokens}};

struct DbShowOptions {
  std::string place, systems_root, system = "h200_sxm", backend = "sglang", version, phase, x;
  report::TableViewOptions view;
  bool backend_is_given = false;
  bool json = false;
};

Result<ExitCode> show(const DbShowOptions& options) {
  std::string place = options.place;
  std::vector<perfdb::DsaTable> tables;
  if (place.empty()) {
    DSAPERF_TRY_ASSIGN(
        const auto opened,
        predict::open_tables(options.systems_root, options.backend, options.backend_is_given));
    DSAPERF_TRY_ASSIGN(auto installed, installed_tables(opened, options.system, options.version));
    place = fmt::format("{} {} on {}", opened.backend, installed.version, options.system);
    tables = std::move(installed.tables);
  } else {
    DSAPERF_TRY_ASSIGN(tables, tables_at(place));
  }
  ordered_json list = ordered_json::array();
  for (const auto& table : tables) {
    if (!options.phase.empty() && options.phase != perfdb::name(table.phase)) continue;
    auto view = options.view;
    if (!options.x.empty()) {
      view.x = kAxes.at(options.x);
    } else if (table.phase == perfdb::Phase::kContext) {
      view.x = report::RowSize::kNewTokens;
    }
    if (options.json) {
      list.push_back(report::json(table, place, view));
    } else {
      fmt::print("{}", report::text(table, place, view, TextStyle::of_descriptor(STDOUT_FILENO)));
    }
  }
  if (options.json) {
    print_document(ordered_json{{"format", "dsaperf.db.show.1"},
                                {"tables", std::move(list)},
                                {"warnings", ordered_json::array()}});
  }
  return ExitCode::kDone;
}

void declare_db_show(Command& command) {
  auto options = std::make_shared<DbShowOptions>();
  auto& filter = options->view.filter;
  command.add_option("PLACE", options->place,
                     "A module table, its folder, or a folder of dsaperf collect (default: "
                     "AIConfigurator's of --system and --backend)");
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "One card").show_default();
  const auto backend =
      command.add_option("--backend", options->backend, "trtllm, sglang, vllm, or dsaperf: ours")
          .show_default();
  command.add_option("--version", options->version, "current, next or a number");
  command.add_option("--phase", options->phase, "One phase (default: both)")
      .one_of({"context", "generation"});
  command.add_option("--model", filter.model, "Part of a model's or an architecture's name");
  command.add_option("--kv", filter.kv_dtype,
                     "Cache format as the table spells it: bfloat16 (or bf16), fp8");
  command.add_option("--gemm", filter.gemm_dtype, "Projection format as the table spells it");
  command.add_option("--heads", filter.heads, "Heads of one rank").delimiter(',');
  command.add_option("--batch", filter.batch, "Requests").delimiter(',');
  command.add_option("--new", filter.new_tokens, "New tokens a request").delimiter(',');
  command.add_option("--past", filter.past_tokens, "Cached tokens a request").delimiter(',');
  command
      .add_option("--x", options->x,
                  "Size along the plot (default: new in prefill, past in decode)")
      .one_of({"heads", "batch", "new", "past"});
  command.add_option("--lines", options->view.lines, "Lines drawn at most").show_default();
  command.add_option("--rows", options->view.rows, "List this many rows");
  command.add_flag("--json", options->json, "One JSON document, with every row");
  command.footer(
      "Example:\n  dsaperf db show --system h200_sxm --phase generation --model DeepseekV32 --kv "
      "fp8 "
      "--heads 16 --batch 1,32");
  command.callback([options, backend] {
    options->backend_is_given = backend.given();
    spell_as_tables_do({&options->view.filter.kv_dtype, &options->view.filter.gemm_dtype});
    return show(*options);
  });
}

}  // namespace

void add_db_show(Command& db) {
  db.add_command("show", "What a table holds, with a plot", declare_db_show);
}

}  // namespace dsaperf::tool
