#pragma once

#include "dsaperf/model/config_fields.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string_view>

namespace dsaperf::model {

// Warns of every field whose name looks like sparse attention (index*, topk*, *sparse*, compress*,
// candidate*, kv_source*, *_kpool*) and that nothing here reads, wherever in the document it
// stands, and of a model_type that has not been met. Towers of other modalities and quantisation
// are left out.
void report_unknown_sparse_fields(const nlohmann::json& document, std::string_view model_type,
                                  ConfigProblems& problems);

}  // namespace dsaperf::model
