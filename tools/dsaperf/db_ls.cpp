#include "db.hpp"
#include "document.hpp"
#include "dsaperf/core/text_table.hpp"
#include "dsaperf/report/table_list.hpp"
#include "systems_flag.hpp"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <memory>
#include <string>

namespace dsaperf::tool {
namespace {

struct DbLsOptions {
  std::string systems_root, system;
  bool json = false;
};

Result<ExitCode> list(const DbLsOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto tree, perfdb::SystemsTree::discover(options.systems_root));
  DSAPERF_TRY_ASSIGN(const auto tables, report::list_tables(tree, options.system));
  if (options.json) {
    print_document(report::json(tables, tree));
    return ExitCode::kDone;
  }
  std::printf("%s\n\n%s", tree.root().c_str(),
              report::text(tables, TextStyle::of_descriptor(1)).c_str());
  return ExitCode::kDone;
}

void declare_db_ls(Command& command) {
  auto options = std::make_shared<DbLsOptions>();
  add_systems(command, options->systems_root);
  command.add_option("--system", options->system, "One card (default: all)");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer("Example:\n  dsaperf db ls --system h200_sxm");
  command.callback([options] { return list(*options); });
}

}  // namespace

void add_db_ls(Command& db) {
  db.add_command("ls", "DSA tables of a systems folder", declare_db_ls);
}

}  // namespace dsaperf::tool
