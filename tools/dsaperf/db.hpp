#pragma once

#include "command.hpp"

namespace dsaperf::tool {

// `db` and its subcommands, each in a file db_<name>.cpp.
void add_db(CLI::App& app, Run& run);

// merge, export and diff: what reads the journals of `collect`.
void add_db_journals(CLI::App& db, Run& run);
void add_db_import(CLI::App& db, Run& run);
void add_db_lint(CLI::App& db, Run& run);
void add_db_loo(CLI::App& db, Run& run);
void add_db_ls(CLI::App& db, Run& run);
void add_db_modelled(CLI::App& db, Run& run);
void add_db_prepare(CLI::App& db, Run& run);
void add_db_show(CLI::App& db, Run& run);

}  // namespace dsaperf::tool
