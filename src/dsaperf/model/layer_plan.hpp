#pragma once

#include "dsaperf/model/stage.hpp"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace dsaperf::model {

// How a layer's attention chooses what it attends to.
enum class AttentionKind {
  kNone,               // the layer is a MLP alone (Nemotron-H)
  kGqa,                // every visible token, keys and values per group of heads
  kMla,                // every visible token, one latent row for all heads
  kSlidingWindow,      // the last `window` tokens
  kLinear,             // a recurrent state; no cache row per token
  kDsa,                // top-k tokens of an indexer over MLA latents (DeepSeek-V3.2, GLM-5)
  kPooledDsa,          // DSA whose index keys are pooled (glm5_next)
  kCompressedSparse,   // CSA: top-k over compressed tokens (DeepSeek-V4)
  kHeavilyCompressed,  // HCA: every compressed token, no indexer (DeepSeek-V4)
  kBlockSparse,        // MSA: top-k blocks over GQA (MiniMax-M3)
  kLightningSparse,    // LSA: DSA with always-selected ends (LongCat)
  kBudgetSparse,       // QSA: compressed block top-k under a token budget (Qwen)
};

enum class IndexerRole {
  kNone,    // the layer selects nothing
  kFull,    // the layer runs its own indexer
  kShared,  // the layer reuses the selection of the nearest full layer before it
};

enum class MlpKind {
  kDense,
  kMoe,
  kDenseAndMoe,  // a dense MLP, and a MoE beside it (LongCat's shortcut)
  kNone,         // the layer is a mixer alone (Nemotron-H)
};

// Sizes of one layer's attention, of the whole model (divide heads by tp for a rank). 0 = absent.
struct AttentionGeometry {
  int hidden = 0;
  int heads = 0;  // query heads
  int kv_heads = 0;
  int head_dim = 0;  // GQA families
  int q_lora = 0;    // 0: the query comes straight from hidden
  int kv_lora = 0;   // latent width; 0: not MLA
  int nope = 0;      // per-head query and key part without rope
  int rope = 0;
  int v = 0;                 // value head size
  int window = 0;            // sliding window in tokens; 0: none
  int o_groups = 0;          // grouped low-rank output projection (DeepSeek-V4); 0: one full matrix
  int o_lora = 0;            // its rank a group
  bool output_gate = false;  // q carries a gate of its own width (attn_output_gate)
  double softmax_scale = 0;  // of query . key, YaRN's factor included (reference: dsa-op Sizes)
};

enum class RopePairing { kInterleaved, kHalfSplit };  // (2i, 2i+1) or (i, i + dim/2)

struct IndexerGeometry {
  int heads = 0;
  int dim = 0;
  int topk = 0;          // in the family's own unit (tokens, compressed tokens, blocks)
  int pool = 1;          // consecutive index keys that become one
  int block = 0;         // tokens of a block where topk counts blocks; 0: it does not
  int init_always = 0;   // first tokens (blocks, for block families) that are always selected
  int local_always = 0;  // last ones that are always selected
  RopePairing rope_pairing = RopePairing::kHalfSplit;
};

// Storage format of a weight group.
enum class WeightFormat { kBf16, kFp8Block, kFp8, kNvfp4, kMxfp4, kInt4, kInt8, kMxfp8 };

// Storage format of the latent KV cache: 1152 B or 656 B a token and layer for 512 + 64.
enum class KvFormat { kBf16, kFp8 };

// Formats of the projection groups of one attention layer.
struct AttentionWeightFormats {
  WeightFormat q_a = WeightFormat::kBf16;
  WeightFormat kv_a = WeightFormat::kBf16;
  WeightFormat q_b = WeightFormat::kBf16;
  WeightFormat kv_b = WeightFormat::kBf16;  // W_UK and W_UV
  WeightFormat o = WeightFormat::kBf16;
  WeightFormat indexer = WeightFormat::kBf16;  // W_iq, W_ik (W_w is always bf16 or f32)
};

// Formats of the feed-forward part of one layer.
struct MlpWeightFormats {
  WeightFormat dense = WeightFormat::kBf16;
  WeightFormat experts = WeightFormat::kBf16;
  WeightFormat shared = WeightFormat::kBf16;
};

// Size of a recurrent (linear attention) layer. 0 = not said.
struct LinearGeometry {
  int key_heads = 0;
  int value_heads = 0;
  int key_dim = 0;
  int value_dim = 0;
  int conv_kernel = 0;
};

// One layer: what it has, not where it runs. In LongCat, where a layer holds two attention blocks,
// each block is one of these.
struct LayerPlan {
  int index = 0;  // position in the model; MTP layers follow the main ones
  bool is_mtp = false;
  AttentionKind attention = AttentionKind::kGqa;
  IndexerRole indexer_role = IndexerRole::kNone;
  MlpKind mlp = MlpKind::kDense;
  AttentionGeometry geometry = {};
  std::optional<IndexerGeometry> indexer = {};  // present for kFull and kShared
  std::optional<LinearGeometry> linear = {};    // present for kLinear
  int compress_ratio = 0;  // tokens that become one cache row; 0: not compressed
  int kv_source = -1;      // layer whose cache is read; -1: its own
  bool uses_rope = true;
  AttentionWeightFormats formats = {};
  MlpWeightFormats mlp_formats = {};
};

bool is_sparse(AttentionKind kind);             // it selects, or compresses, what it attends to
bool has_latent_cache(const LayerPlan& layer);  // one row of latent and rope serves all heads

// Stable snake_case names: JSON and tables.
std::string_view name(AttentionKind kind);
std::string_view name(IndexerRole role);
std::string_view name(MlpKind kind);
std::string_view name(WeightFormat format);
std::string_view name(KvFormat format);

// The stages a layer runs. `dense_regime`: every request has at most topk visible tokens, so the
// selection is skipped. Only DSA layers and MLA layers are lists of these stages; others give none.
std::vector<Stage> stages_of(const LayerPlan& layer, bool dense_regime);

}  // namespace dsaperf::model
