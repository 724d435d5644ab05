#include "db.hpp"
#include "document.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/stages/fit_table.hpp"
#include "systems_flag.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace dsaperf::tool {
namespace {

using predict::stages::HyperparameterStore;

struct DbPrepareOptions {
  std::string systems_root, output;
  std::vector<std::string> systems, backends;
  std::string version, phase;
  bool shipped = false;
  bool json = false;
};

bool is_asked(const std::vector<std::string>& asked, const std::string& name) {
  return asked.empty() || std::find(asked.begin(), asked.end(), name) != asked.end();
}

// All versions of a backend, or the one that is asked for where the backend has it.
Result<std::vector<std::string>> versions_of(const perfdb::SystemsTree& tree,
                                             const std::string& system, const std::string& backend,
                                             const std::string& asked) {
  if (asked.empty()) return tree.versions(system, backend);
  const auto version = tree.resolve_version(system, backend, asked);
  if (!version) return std::vector<std::string>();
  return std::vector<std::string>{*version};
}

struct Table {
  std::string system, backend, version;
  perfdb::Phase phase;
};

// The DSA tables of a tree that are asked for.
Result<std::vector<Table>> tables_of(const perfdb::SystemsTree& tree,
                                     const DbPrepareOptions& asked) {
  std::vector<Table> tables;
  for (const auto& system : asked.systems.empty() ? tree.systems() : asked.systems) {
    const auto backends = tree.backends(system);
    if (!backends) continue;
    for (const auto& backend : *backends) {
      if (!is_asked(asked.backends, backend)) continue;
      DSAPERF_TRY_ASSIGN(const auto versions, versions_of(tree, system, backend, asked.version));
      for (const auto& version : versions) {
        for (const auto phase : {perfdb::Phase::kContext, perfdb::Phase::kGeneration}) {
          if (!asked.phase.empty() && asked.phase != perfdb::name(phase)) continue;
          // Most versions have no DSA table of their own.
          const auto sources =
              tree.sources(system, backend, version, perfdb::dsa_table_file(phase));
          if (!sources || sources->empty()) continue;
          tables.push_back(
              {.system = system, .backend = backend, .version = version, .phase = phase});
        }
      }
    }
  }
  return tables;
}

// Of the tables that there are, AIConfigurator's and ours, whichever were asked for.
Result<HyperparameterStore::Written> write_parameters(const DbPrepareOptions& options,
                                                      HyperparameterStore& store) {
  DSAPERF_TRY_ASSIGN(const auto found, perfdb::SystemsTree::discover(options.systems_root));
  if (found.is_shipped()) {
    return fail(Errc::kNotFound,
                "{}: nothing tells which parameters are still of a table of AIConfigurator: "
                "`pip install aiconfigurator-core==0.12.0` brings them, --systems names others",
                options.output);
  }
  DSAPERF_TRY_ASSIGN(const auto shipped, perfdb::SystemsTree::shipped());
  std::set<std::uint64_t> hashes;
  for (const auto* tree : {&found, &shipped}) {
    DSAPERF_TRY_ASSIGN(const auto tables, tables_of(*tree, {}));
    for (const auto& [system, backend, version, phase] : tables) {
      DSAPERF_TRY_ASSIGN(const auto of_table,
                         predict::stages::part_hashes(*tree, system, backend, version, phase));
      hashes.insert(of_table.begin(), of_table.end());
    }
  }
  return store.write(options.output, hashes);
}

Result<ExitCode> prepare(const DbPrepareOptions& options) {
  DSAPERF_TRY_ASSIGN(const auto tree, options.shipped
                                          ? perfdb::SystemsTree::shipped()
                                          : perfdb::SystemsTree::discover(options.systems_root));
  auto store = HyperparameterStore::open();
  std::size_t parts = 0;
  const auto note = [](const predict::stages::Part& part) {
    std::fprintf(stderr, "fitting %s %s, %zu rows\n", part.kind.architecture.c_str(),
                 part.kernel_source.c_str(), part.observations.size());
  };
  DSAPERF_TRY_ASSIGN(const auto tables, tables_of(tree, options));
  for (const auto& [system, backend, version, phase] : tables) {
    DSAPERF_TRY_ASSIGN(const auto count, predict::stages::fit_table(tree, system, backend, version,
                                                                    phase, store, note));
    parts += count;
  }
  std::optional<HyperparameterStore::Written> written;
  if (!options.output.empty()) {
    DSAPERF_TRY_ASSIGN(written, write_parameters(options, store));
  }
  if (options.json) {
    nlohmann::ordered_json document{
        {"format", "dsaperf.db.prepare.1"}, {"parts", parts}, {"fitted", store.fitted()}};
    if (written) {
      document["written"] = written->lines;
      document["left_out"] = written->left_out;
    }
    document["warnings"] = nlohmann::ordered_json::array();
    print_document(document);
    return ExitCode::kDone;
  }
  std::printf("%zu parts of tables, %zu fitted now\n", parts, store.fitted());
  if (written) {
    std::printf("%s: %zu parts; %zu left out that are of no table here\n", options.output.c_str(),
                written->lines, written->left_out);
  }
  return ExitCode::kDone;
}

void declare_db_prepare(Command& command) {
  auto options = std::make_shared<DbPrepareOptions>();
  add_systems(command, options->systems_root);
  command.add_option("--system", options->systems, "Card, several times (default: all)");
  command.add_option("--backend", options->backends, "Framework, several times (default: all)");
  command.add_option("--version", options->version,
                     "current, previous, next or a number (default: all)");
  command
      .add_option("--phase", options->phase, "context: prefill; generation: decode (default: both)")
      .one_of({"context", "generation"});
  command.add_flag("--shipped", options->shipped, "Our own tables, whatever else is found");
  command.add_option("-o,--output", options->output,
                     "Also write the parameters of all tables found, and of our own, to a file "
                     "(data/predict/parameters.csv)");
  command.add_flag("--json", options->json, "One JSON document");
  command.footer(
      "Example:\n  dsaperf db prepare --system h200_sxm\n"
      "  dsaperf db prepare --system gb200 --version current --phase context");
  command.callback([options] { return prepare(*options); });
}

}  // namespace

void add_db_prepare(Command& db) {
  db.add_command("prepare",
                 "Fit the stage model to DSA tables ahead of the first question about them",
                 declare_db_prepare);
}

}  // namespace dsaperf::tool
