#pragma once

#include "dsaperf/model/config_fields.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <nlohmann/json_fwd.hpp>

namespace dsaperf::model {

// Storage format of each projection group of each layer, and of the cache: from
// quantization_config (fp8, mxfp4, compressed-tensors, modelopt, awq, gptq, ...), and from
// hf_quant_config.json, which wins where it speaks: config.json of an NVFP4 export may say nothing,
// or still what the base checkpoint was. Modules are matched one by one (ModulePatterns).
//
// `quant_document` is null where there is no hf_quant_config.json.
void read_quantisation(const ConfigFields& fields, const nlohmann::json* quant_document,
                       ModelSpec& spec);

}  // namespace dsaperf::model
