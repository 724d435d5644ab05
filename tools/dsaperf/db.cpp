#include "db.hpp"

namespace dsaperf::tool {

void add_db(CLI::App& app, Run& run) {
  auto* db = app.add_subcommand("db", "Tables of measurements");
  db->require_subcommand(1);
  add_db_journals(*db, run);
  add_db_import(*db, run);
  add_db_lint(*db, run);
  add_db_loo(*db, run);
  add_db_ls(*db, run);
  add_db_modelled(*db, run);
  add_db_prepare(*db, run);
  add_db_show(*db, run);
  db->footer(
      "Examples:\n  dsaperf db ls --system h200_sxm\n  dsaperf db show rows\n  dsaperf db lint "
      "rows");
}

}  // namespace dsaperf::tool
