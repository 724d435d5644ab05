#pragma once

#include "dsaperf/model/config_fields.hpp"
#include "dsaperf/model/model_spec.hpp"

namespace dsaperf::model {

// Sizes of each layer's attention: the model's, then what differs on sliding layers (swa_*,
// global_head_dim) and what per_layer_config says for single layers.
void read_layer_geometry(const ConfigFields& fields, ModelSpec& spec);

}  // namespace dsaperf::model
