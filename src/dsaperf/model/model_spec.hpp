#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// Rotary embedding of the main attention. `factor` and what follows matter for type "yarn" alone.
struct RopeSpec {
  std::string type = "default";
  double theta = 10000;
  double factor = 1;
  double original_max_positions = 0;
  double beta_fast = 32;
  double beta_slow = 1;
  double mscale = 1;
  double mscale_all_dim = 0;
};

// The mixture of experts of a layer that has one. 0 = absent.
struct MoeSpec {
  int routed_experts = 0;
  int experts_per_token = 0;
  int shared_experts = 0;
  int zero_experts = 0;         // may be chosen, compute nothing (LongCat)
  int intermediate = 0;         // of one routed expert
  int shared_intermediate = 0;  // of all shared experts together
  int expert_hidden = 0;        // width the experts work in; hidden unless the MoE is latent
};

// What a family's own fields said, for those that report them as they stand; absent stays absent.
struct ConfigFacts {
  std::optional<int> mtp_layers;
  std::optional<int> kv_heads;
  std::optional<int> head_dim;  // of config.json: not the attention's head size in MLA models
  std::optional<int> q_lora_rank, kv_lora_rank, o_lora_rank;
  std::optional<int> qk_nope_head_dim, qk_rope_head_dim, v_head_dim;
  std::optional<int> sliding_window;
  std::optional<std::int64_t> max_positions;
  std::optional<int> moe_intermediate, experts_per_token, shared_experts, zero_experts;
  std::optional<int> index_heads, index_dim, index_topk, index_kpool;
  std::optional<int> topk_blocks, block_size, init_blocks, local_blocks;  // MSA
  std::optional<int> budget_tokens, budget_compress_ratio;                // QSA
  std::optional<int> init_tokens, local_tokens;                           // LSA
  std::vector<int> compress_ratios;                                       // V4, MTP layers included
  std::optional<std::string> kv_cache_quant;                              // "FP8"
  bool states_mlp_layers = false;  // which layers are MoE is written, not inferred
};

// What a model is, as its config.json and hf_quant_config.json say: sizes, one LayerPlan per
// attention layer, storage formats. Nothing in it depends on where or how the model runs.
struct ModelSpec {
  std::string name;          // what was asked for: a bundled name, else the file's
  std::string source;        // the file that was read
  bool is_bundled = false;   // one of the known models that are shipped
  std::string model_type;    // empty: config.json has none
  std::string architecture;  // first of `architectures`; empty: none
  bool nested_text_config = false;

  int hidden = 0;
  int heads = 0;  // of the main attention layers
  int vocab = 0;
  std::int64_t max_positions = 0;  // 0: not said
  int intermediate = 0;            // of a dense MLP; 0: no layer has one
  MoeSpec moe;
  double rms_eps = 1e-6;
  RopeSpec rope;
  bool tied_embeddings = false;

  int main_layers = 0;            // num_hidden_layers (LongCat: num_layers, two blocks each)
  int mtp_layers = 0;             // draft layers that follow them
  std::vector<LayerPlan> layers;  // attention layers in order, main ones first, then MTP

  WeightFormat lm_head = WeightFormat::kBf16;
  std::optional<KvFormat> kv_format;  // what the checkpoint asks for; empty: nothing said
  std::string quantisation;  // "fp8 block 128x128", "nvfp4 (hf_quant_config)", "none (bf16)"

  bool has_uncounted_parts = false;  // weights beside attention and MLP, see warnings

  ConfigFacts facts;
  std::vector<std::string> warnings;  // assumed, completed, unknown: nothing is guessed in silence
};

// Attention layers of the main model, without MTP.
std::vector<const LayerPlan*> main_attention_layers(const ModelSpec& spec);

// The layer that stands for the model's attention: the first sparse one that runs its own indexer,
// else the first sparse, else the first. Never null: every ModelSpec has a layer.
const LayerPlan& typical_layer(const ModelSpec& spec);

// Some layer selects or compresses what it attends to.
bool is_sparse(const ModelSpec& spec);

}  // namespace dsaperf::model
