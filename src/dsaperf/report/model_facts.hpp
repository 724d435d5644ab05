#pragma once

#include "dsaperf/model/model_spec.hpp"

#include <nlohmann/json_fwd.hpp>

namespace dsaperf::report {

// The flat object `facts` of `dsaperf analyze --json`: what programs compare models by. A key is
// present where the config or its family says something about it (docs/formats/analyze.md).
nlohmann::ordered_json model_facts(const model::ModelSpec& spec);

}  // namespace dsaperf::report
