#pragma once

#include "dsaperf/model/config_fields.hpp"
#include "dsaperf/model/model_spec.hpp"

namespace dsaperf::model {

// Sizes of dense MLP and MoE, and which layers have which: mlp_layer_types, moe_layer_freq as a
// list, first_k_dense_replace (with moe_layer_freq as a step), decoder_sparse_step and
// mlp_only_layers (Qwen), interleave_moe_layer_step (Llama 4), the block types of Nemotron-H; else
// every layer is a MoE if there are experts. This never concerns the attention.
void read_mlp_layers(const ConfigFields& fields, ModelSpec& spec);

}  // namespace dsaperf::model
