#include "dsaperf/predict/opened_tables.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/own_table.hpp"

namespace dsaperf::predict {

using perfdb::SystemsTree;

bool OpenedTables::are_ours() const {
  return tree->is_shipped();
}

Result<compatible::OperatorSet> OpenedTables::operators(std::string_view system,
                                                        std::string_view engine,
                                                        std::string_view version) const {
  return compatible::OperatorSet::open(tree, system, are_ours() ? perfdb::kOwnBackend : engine,
                                       version);
}

std::vector<std::string> OpenedTables::warnings(std::string_view system) const {
  if (!are_ours()) return {};
  const auto gemms =
      tree->sources(system, perfdb::kOwnBackend, perfdb::kOwnVersion, perfdb::kGemmTable);
  const bool with_gemms = gemms && !gemms->empty();
  return {fmt::format(
      "attention {} our own tables of {}; {}experts and collectives have no tables here "
      "and are modelled from the card's figures (pip install aiconfigurator-core==0.12.0 brings "
      "measured ones)",
      with_gemms ? "and GEMMs are from" : "is from", system, with_gemms ? "" : "GEMMs, ")};
}

Result<OpenedTables> open_tables(const std::filesystem::path& systems_root,
                                 const std::string& backend, bool backend_is_given) {
  const bool wants_ours = systems_root.empty() && backend == perfdb::kOwnBackend;
  DSAPERF_TRY_ASSIGN(auto tree,
                     wants_ours ? SystemsTree::shipped() : SystemsTree::discover(systems_root));
  if (tree.is_shipped() && backend_is_given && backend != perfdb::kOwnBackend) {
    return fail(
        Errc::kNotFound,
        "no tables of AIConfigurator, so none of {}: ours alone are here (--backend dsaperf); "
        "`pip install aiconfigurator-core==0.12.0` brings those of frameworks",
        backend);
  }
  const bool are_ours = tree.is_shipped() && !backend_is_given;
  return OpenedTables{.tree = std::make_shared<const SystemsTree>(std::move(tree)),
                      .backend = are_ours ? std::string(perfdb::kOwnBackend) : backend};
}

}  // namespace dsaperf::predict
