#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// CONFIG of the command line: a path to config.json or NAME_config.json, a folder that holds one,
// "-" for standard input, or the name of a bundled model ("deepseek-ai/DeepSeek-V3.2", or its last
// part in any case). hf_quant_config.json (NAME_hf_quant_config.json) beside it is read with it.
// Errors name file and JSON path; an unknown name lists the nearest bundled ones.
Result<ModelSpec> load_model(std::string_view config);

// The two documents as text. `source` names the first in messages. `quant_text` empty: there is
// none.
Result<ModelSpec> parse_model(std::string_view config_text, std::string_view quant_text,
                              std::string_view source);

// All bundled models, sorted by name: what an unknown one is compared with. Takes a few
// milliseconds; whoever analyses many configs keeps them.
Result<std::vector<ModelSpec>> load_bundled_models();

// Names of the bundled models, sorted ("deepseek-ai/DeepSeek-V3", ...).
Result<std::vector<std::string>> bundled_models();

}  // namespace dsaperf::model
