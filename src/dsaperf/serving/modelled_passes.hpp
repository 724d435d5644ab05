#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/predict/compatible/operator_set.hpp"
#include "dsaperf/serving/deployment.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::serving {

// Passes of a model whose operators beside attention are modelled, over the same passes with those
// operators from tables: relative differences, and the median of the ratio less one.
struct ModelledPasses {
  std::string model;
  Engine engine = Engine::kSglang;
  bool is_prefill = true;
  std::size_t passes = 0;
  double median = 0, largest = 0, bias = 0;
};

// Over four layouts of eight GPUs and common sizes. Layouts that a table lacks are left out.
Result<std::vector<ModelledPasses>> modelled_passes(
    const std::shared_ptr<const perfdb::SystemsTree>& tree, std::string_view system, Engine engine,
    const model::ModelSpec& spec);

}  // namespace dsaperf::serving
