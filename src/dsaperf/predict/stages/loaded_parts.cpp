#include "dsaperf/predict/stages/loaded_parts.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/stages/kept_parts.hpp"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace dsaperf::predict::stages {

Result<LoadedParts> LoadedParts::load(const perfdb::SystemsTree& tree, const TableOwner& owner,
                                      const perfdb::SystemFile& figures, perfdb::Phase phase,
                                      HyperparameterStore& store) {
  const auto& [system, backend, version] = owner;
  LoadedParts loaded;
  DSAPERF_TRY_ASSIGN(loaded.sources,
                     tree.sources(system, backend, version, perfdb::dsa_table_file(phase)));
  // Our own tables are small, and a folder that changes does not say when.
  const KeptParts kept(tree.is_shipped() ? std::filesystem::path() : store.cache_folder(), figures,
                       backend, version, phase, loaded.sources);
  auto parts = kept.read(figures);
  const auto all_known = [&] {
    return std::ranges::all_of(*parts, [&](const Part& part) { return store.knows(part); });
  };
  if (!parts || !all_known()) {
    DSAPERF_TRY_ASSIGN(const auto table,
                       perfdb::load_dsa_table(tree, system, backend, version, phase));
    DSAPERF_TRY_ASSIGN(parts, parts_of(table, figures, backend));
    if (!all_known()) look_at_rows(*parts, table, backend);
    kept.write(*parts);
    loaded.sources = table.sources;
  }
  loaded.parts.reserve(parts->size());
  for (auto& part : *parts) {
    auto& added = loaded.parts.emplace_back();
    for (const auto& o : part.observations) added.measured.widen(o.sizes);
    const auto& source = loaded.sources[static_cast<std::size_t>(part.source)];
    if (source.backend != backend || source.version != version)
      added.origin = fmt::format("rows of {} {}", source.backend, source.version);
    added.part = std::move(part);
  }
  return loaded;
}

void make_model(LoadedPart& loaded, HyperparameterStore& store) {
  auto& part = loaded.part;
  const auto parameters = store.of(part);
  part.defects = store.defects_of(part);
  if (!part.defects.empty())
    loaded.warnings.add("lint finds defects among the rows used: " + part.defects);
  if (!loaded.origin.empty()) loaded.warnings.add(loaded.origin);
  loaded.model.emplace(part.setting, std::move(part.observations), parameters);
}

}  // namespace dsaperf::predict::stages
