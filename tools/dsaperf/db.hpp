#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// `db` and its subcommands, each in a file db_<name>.cpp.
void add_db(Command& app);

// merge, export and diff: what reads the journals of `collect`.
void add_db_journals(Command& db);
void add_db_import(Command& db);
void add_db_lint(Command& db);
void add_db_loo(Command& db);
void add_db_ls(Command& db);
void add_db_modelled(Command& db);
void add_db_prepare(Command& db);
void add_db_show(Command& db);

}  // namespace dsaperf::tool
