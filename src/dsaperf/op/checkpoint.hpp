#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/op/layer_weights.hpp"

#include <filesystem>

namespace dsaperf::op {

// The weights of one layer and rank out of a checkpoint: a .safetensors file, or a folder with
// several and their model.safetensors.index.json. Tensors are named as Hugging Face's are,
// "model.layers.3.self_attn.q_a_proj.weight", or without the layer's prefix where the file holds
// one attention module alone. Rank 0's heads are the first `spec.heads`.
//
// bf16 and f32 are read; fp8 with weight_scale_inv per 128 x 128 block is kept as it is where the
// spec runs fp8, else dequantised. Fails naming file and tensor.
Result<LayerWeights> read_weights(const std::filesystem::path& path, const LayerSpec& spec);

}  // namespace dsaperf::op
