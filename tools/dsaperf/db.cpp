#include "db.hpp"

namespace dsaperf::tool {
namespace {

void declare_db(Command& command) {
  command.require_command();
  add_db_journals(command);
  add_db_import(command);
  add_db_lint(command);
  add_db_loo(command);
  add_db_ls(command);
  add_db_modelled(command);
  add_db_prepare(command);
  add_db_show(command);
  command.footer(
      "Examples:\n  dsaperf db ls --system h200_sxm\n  dsaperf db show rows\n  dsaperf db lint "
      "rows");
}

}  // namespace

void add_db(Command& app) {
  app.add_command("db", "Tables of measurements", declare_db);
}

}  // namespace dsaperf::tool
