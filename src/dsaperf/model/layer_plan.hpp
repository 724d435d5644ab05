#pragma once

#include "dsaperf/model/stage.hpp"

#include <cstdint>
#include <optional>
#include <vector>

namespace dsaperf::model {

// How a layer's attention chooses what it attends to.
enum class AttentionKind {
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

enum class MlpKind { kDense, kMoe };

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
  double softmax_scale = 0;  // of query . key, YaRN's factor included (reference: dsa-op Sizes)
};

enum class RopePairing { kInterleaved, kHalfSplit };  // (2i, 2i+1) or (i, i + dim/2)

struct IndexerGeometry {
  int heads = 0;
  int dim = 0;
  int topk = 0;  // in the family's own unit (tokens, compressed tokens, blocks)
  int pool = 1;  // consecutive index keys that become one
  RopePairing rope_pairing = RopePairing::kHalfSplit;
};

// Storage format of a weight group.
enum class WeightFormat { kBf16, kFp8Block, kFp8, kNvfp4, kMxfp4, kInt4, kInt8 };

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

// One layer: what it has, not where it runs.
struct LayerPlan {
  int index = 0;  // position in the model; MTP layers follow the main ones
  bool is_mtp = false;
  AttentionKind attention = AttentionKind::kGqa;
  IndexerRole indexer_role = IndexerRole::kNone;
  MlpKind mlp = MlpKind::kDense;
  AttentionGeometry geometry;
  std::optional<IndexerGeometry> indexer;  // present for kFull and kShared
  AttentionWeightFormats formats;
};

// The stages a layer runs. `dense_regime`: every request has at most topk visible tokens, so the
// selection is skipped. Only DSA layers and MLA layers are lists of these stages; others give none.
std::vector<Stage> stages_of(const LayerPlan& layer, bool dense_regime);

}  // namespace dsaperf::model
