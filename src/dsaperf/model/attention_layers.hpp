#pragma once

#include "dsaperf/model/config_fields.hpp"
#include "dsaperf/model/model_spec.hpp"

#include <vector>

namespace dsaperf::model {

// Which family of attention the fields describe. Read from fields alone, never from model_type.
enum class AttentionFamily {
  kPlain,       // nothing selects: MLA, GQA, sliding windows, linear
  kDsa,         // index_n_heads, index_head_dim, index_topk
  kCompressed,  // compress_ratios, or layer_types with compress_rates (DeepSeek-V4, 4.1)
  kBlock,       // sparse_attention_config or index_topk_blocks (MSA)
  kLightning,   // attention_method "LSA"
  kBudget,      // indexer_n_heads, indexer_budget (QSA)
};

AttentionFamily attention_family(const ConfigFields& fields);

// What each attention layer is, main layers first, then MTP layers: kind, role of the indexer, its
// sizes, compression and whose cache it reads. Geometry and formats are left as they were.
//
// `spec` holds the sizes read so far; its facts and the warnings of `fields` are added to.
void read_attention_layers(const ConfigFields& fields, AttentionFamily family, ModelSpec& spec);

// LongCat: each of num_layers holds two attention blocks.
bool has_two_blocks(const ConfigFields& fields);

// Nemotron-H: mamba, attention, moe or mlp, one a layer, from layers_block_type or from the letters
// M, *, E, - of hybrid_override_pattern. Nothing for other models.
std::optional<std::vector<std::string>> block_types(const ConfigFields& fields);

// One entry a layer of a list in the config ("layer_types"), or nothing. A list may carry
// `mtp_layers` more entries than `main_layers`; any other length is an error that says both.
std::optional<std::vector<std::string>> layer_texts(const ConfigFields& fields,
                                                    std::string_view name, const ModelSpec& spec);
std::optional<std::vector<int>> layer_integers(const ConfigFields& fields, std::string_view name,
                                               const ModelSpec& spec);

}  // namespace dsaperf::model
