#include "db.hpp"
#include "dsaperf/report/lint.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

namespace dsaperf::tool {
namespace {

struct Options {
  std::string place, systems_root, system = "h200_sxm";
  std::size_t rows = 0;
  bool json = false;
};

Result<ExitCode> lint(const Options& options) {
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
  command->add_option("PLACE", options->place,
                      "A table or a folder of tables (default: AIConfigurator's of --system)");
  command->add_option("--systems", options->systems_root,
                      "AIConfigurator's systems folder (else found by itself)");
  command->add_option("--system", options->system, "One card")->capture_default_str();
  command->add_option("--rows", options->rows, "List this many rows of each finding");
  command->add_flag("--json", options->json, "One JSON document, with every row");
  command->footer(
      "Exit code 3: there are findings (notes do not count).\n"
      "Example:\n  dsaperf db lint --system h200_sxm --rows 3");
  command->callback([options, &run] { run = [options] { return lint(*options); }; });
}

}  // namespace dsaperf::tool
