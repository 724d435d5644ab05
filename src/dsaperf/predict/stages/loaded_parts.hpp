#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/stages/hyperparameter_store.hpp"
#include "dsaperf/predict/stages/part_model.hpp"
#include "dsaperf/predict/stages/part_table.hpp"

#include <optional>
#include <string>
#include <vector>

namespace dsaperf::predict::stages {

// A part that can answer: its model is made when it is first asked for (prepare), since most are
// never.
struct LoadedPart {
  Part part;           // its observations move into the model
  std::string origin;  // whose rows they are, where the tables lack their own
  Warnings warnings;   // what lint finds in them, and `origin`
  std::optional<PartModel> model;
  Extent measured;
};

// Whose tables: `version` as the tree resolved it.
struct TableOwner {
  std::string system, backend, version;
};

// The table of one phase.
struct LoadedParts {
  std::vector<LoadedPart> parts;
  std::vector<perfdb::TableSource> sources;

  // From the user's cache where the store knows all that was kept there, else from the table.
  static Result<LoadedParts> load(const perfdb::SystemsTree& tree, const TableOwner& owner,
                                  const perfdb::SystemFile& figures, perfdb::Phase phase,
                                  HyperparameterStore& store);
};

void make_model(LoadedPart& loaded, HyperparameterStore& store);

// Every question asks: nothing happens but the first time.
inline void prepare(LoadedPart& loaded, HyperparameterStore& store) {
  if (!loaded.model) make_model(loaded, store);
}

}  // namespace dsaperf::predict::stages
