#include "db.hpp"
#include "document.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/file.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/report/leave_out.hpp"
#include "systems_flag.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

struct DbLooOptions {
  std::string systems_root, system = "h200_sxm";
  std::vector<std::string> tables;  // "sglang 0.5.14 context"
  std::string points_file;
  predict::LeaveOutOptions drawing;
  bool json = false;
};

constexpr const char* kDefaultTables[] = {"sglang current context", "sglang current generation",
                                          "vllm current context",   "vllm current generation",
                                          "trtllm next context",    "trtllm next generation"};

Result<predict::TableName> parse_table(const perfdb::SystemsTree& tree, const std::string& system,
                                       const std::string& text) {
  const auto first = text.find(' ');
  const auto last = text.rfind(' ');
  const auto phase = last == std::string::npos ? "" : text.substr(last + 1);
  if (first == std::string::npos || first == last ||
      (phase != "context" && phase != "generation")) {
    return fail(Errc::kInvalidArgument, "--table '{}': due \"BACKEND VERSION context|generation\"",
                text);
  }
  predict::TableName name{
      .system = system,
      .backend = text.substr(0, first),
      .version = text.substr(first + 1, last - first - 1),
      .phase = phase == "context" ? perfdb::Phase::kContext : perfdb::Phase::kGeneration};
  const bool is_slot =
      name.version == "current" || name.version == "previous" || name.version == "next";
  if (is_slot) {
    DSAPERF_TRY_ASSIGN(name.version, tree.resolve_version(system, name.backend, name.version));
  }
  return name;
}

Result<ExitCode> leave_out(const DbLooOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::discover(options.systems_root));
  auto store = predict::stages::HyperparameterStore::open();
  auto names = options.tables;
  if (names.empty()) names.assign(std::begin(kDefaultTables), std::end(kDefaultTables));
  std::vector<predict::LeaveOutSummary> rows;
  std::string points_text;
  const auto note = [](const predict::stages::Part& part) {
    std::fprintf(stderr, "fitting %s %s, %zu rows\n", part.kind.architecture.c_str(),
                 part.kernel_source.c_str(), part.observations.size());
  };
  for (const auto& text : names) {
    DSAPERF_TRY_ASSIGN(const auto table, parse_table(tree, options.system, text));
    for (const auto left_out : {predict::LeftOut::kPoint, predict::LeftOut::kSlice}) {
      for (const auto method : {predict::Method::kCompatible, predict::Method::kStages}) {
        DSAPERF_TRY_ASSIGN(const auto points, predict::leave_out(tree, table, method, left_out,
                                                                 options.drawing, store, note));
        const auto summary = predict::summarise(table, method, left_out, points);
        rows.insert(rows.end(), summary.begin(), summary.end());
        if (!options.points_file.empty()) {
          points_text += report::csv(table, method, left_out, points, points_text.empty());
        }
      }
    }
  }
  if (!options.points_file.empty()) DSAPERF_TRY(write_file(options.points_file, points_text));
  if (options.json) {
    print_document(report::json(rows));
  } else {
    std::fputs(report::text(rows, TextStyle::of_descriptor(1)).c_str(), stdout);
  }
  return ExitCode::kDone;
}

void declare_db_loo(Command& command) {
  auto options = std::make_shared<DbLooOptions>();
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "Card").show_default();
  command.add_option("--table", options->tables,
                     "\"BACKEND VERSION context|generation\", several times (default: SGLang's, "
                     "vLLM's and TensorRT-LLM's)");
  command.add_option("--points", options->drawing.points, "Rows drawn of each population")
      .show_default();
  command.add_option("--seed", options->drawing.seed, "Of the drawing").show_default();
  command.add_option("--csv", options->points_file, "Write every predicted row to a file");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer("Example:\n  dsaperf db loo --table \"sglang current context\"");
  command.callback([options] { return leave_out(*options); });
}

}  // namespace

void add_db_loo(Command& db) {
  db.add_command("loo", "How well rows of a table are predicted from the rest of it",
                 declare_db_loo);
}

}  // namespace dsaperf::tool
