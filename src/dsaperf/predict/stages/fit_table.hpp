#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/stages/hyperparameter_store.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

namespace dsaperf::predict::stages {

// The hashes of a table's parts.
Result<std::vector<std::uint64_t>> part_hashes(const perfdb::SystemsTree& tree,
                                               std::string_view system, std::string_view backend,
                                               std::string_view version, perfdb::Phase phase);

// Fits every part of a table that the store does not know; how many parts there are. `note` is told
// before a part is fitted.
Result<std::size_t> fit_table(const perfdb::SystemsTree& tree, std::string_view system,
                              std::string_view backend, std::string_view version,
                              perfdb::Phase phase, HyperparameterStore& store,
                              const std::function<void(const Part&)>& note = {});

}  // namespace dsaperf::predict::stages
