#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/compatible/operator_set.hpp"

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict {

// The tables that answer, and the backend that was asked for.
struct OpenedTables {
  std::shared_ptr<const perfdb::SystemsTree> tree;
  std::string backend;

  // Our own, not a framework's: one table, whatever engine would run the kernels.
  bool are_ours() const;
  // Every operator of an engine at a version ("": current).
  Result<compatible::OperatorSet> operators(std::string_view system, std::string_view engine,
                                            std::string_view version) const;
  // What an estimate over them must say.
  std::vector<std::string> warnings(std::string_view system) const;
};

// What SystemsTree::discover finds, or ours where `backend` names them. Where ours are all there
// is, a backend that nobody named ("" or a default, backend_is_given false) is ours, and one that
// was named fails with kNotFound.
Result<OpenedTables> open_tables(const std::filesystem::path& systems_root,
                                 const std::string& backend, bool backend_is_given);

}  // namespace dsaperf::predict
