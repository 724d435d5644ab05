#include "dsaperf/predict/stages/fit_table.hpp"

namespace dsaperf::predict::stages {

Result<std::vector<std::uint64_t>> part_hashes(const perfdb::SystemsTree& tree,
                                               std::string_view system, std::string_view backend,
                                               std::string_view version, perfdb::Phase phase) {
  DSAPERF_TRY_ASSIGN(const auto figures, tree.system(system));
  DSAPERF_TRY_ASSIGN(const auto table,
                     perfdb::load_dsa_table(tree, system, backend, version, phase));
  DSAPERF_TRY_ASSIGN(const auto parts, parts_of(table, figures, backend));
  std::vector<std::uint64_t> hashes;
  hashes.reserve(parts.size());
  for (const auto& part : parts) hashes.push_back(part.hash);
  return hashes;
}

Result<std::size_t> fit_table(const perfdb::SystemsTree& tree, std::string_view system,
                              std::string_view backend, std::string_view version,
                              perfdb::Phase phase, HyperparameterStore& store,
                              const std::function<void(const Part&)>& note) {
  DSAPERF_TRY_ASSIGN(const auto figures, tree.system(system));
  DSAPERF_TRY_ASSIGN(const auto table,
                     perfdb::load_dsa_table(tree, system, backend, version, phase));
  DSAPERF_TRY_ASSIGN(auto parts, parts_of(table, figures, backend));
  look_at_rows(parts, table, backend);
  for (const auto& part : parts) store.of(part, note);
  return parts.size();
}

}  // namespace dsaperf::predict::stages
