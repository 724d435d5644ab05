#pragma once

#include "dsaperf/model/config_fields.hpp"
#include "dsaperf/model/model_spec.hpp"

namespace dsaperf::model {

// Which selecting layers run their own indexer and which reuse the nearest one's before them
// (GLM-5.2, 5.3): indexer_types, else index_topk_pattern ("FSSF..."), else full where
// max(i - index_skip_topk_offset + 1, 0) mod index_topk_freq == 0, else every one. The explicit
// list wins; a contradiction is a warning, and so is a list of another length than the layers,
// which is completed by the rule where there is one and refused where there is none.
void read_indexer_roles(const ConfigFields& fields, ModelSpec& spec);

// DeepSeek-V4 and 4.1: kinds and roles from compress_ratios or layer_types, index_topk in
// compressed tokens, index_source_layer_ids, kv_source_layer_ids.
void read_compressed_layers(const ConfigFields& fields, ModelSpec& spec);

}  // namespace dsaperf::model
