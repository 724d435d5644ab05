#pragma once

#include <array>
#include <optional>
#include <string_view>

namespace dsaperf::model {

// The stages of a DSA attention layer, in order of execution. The stage is the unit everywhere:
// what a layer has, what the op runs, what a kernel in a trace is classified as, what a table row
// measures, what a prediction adds up. docs/glossary.md says what each computes.
enum class Stage {
  kQkvAProjection,  // x -> q_a, kv_a (one fused GEMM, also with W_ik and W_w where an indexer runs)
  kNormRope,        // RMSNorm of q_a and of the latent, rope of the shared key
  kQBProjection,    // q_r -> per-head queries, rope on their last part
  kAbsorb,          // q_nope -> q_latent, batched over heads
  kCacheWrite,      // latent and rope row into the paged KV cache
  kIndexerProjection,  // q_r -> q_i; k_i = LayerNorm(W_ik x); head weights w
  kIndexerQuantise,    // Hadamard rotation and e4m3 with one scale per 128
  kIndexCacheWrite,    // index key row into its paged cache
  kIndexerScores,      // s[t, p], f32
  kTopk,               // the topk highest visible positions
  kAttention,          // softmax over the selected rows
  kVUp,                // o_latent -> o, batched over heads
  kOProjection,        // o -> hidden
};

inline constexpr int kStageCount = 13;

// Stable snake_case name ("qkv_a_projection", ...): JSON keys, table columns, rule files.
std::string_view name(Stage stage);

// The inverse of name(); empty for an unknown name.
std::optional<Stage> stage_from_name(std::string_view name);

// All stages in order.
const std::array<Stage, kStageCount>& all_stages();

// Stages 6, 7, 9 and 10: absent in layers that share a selection and in the dense regime. (Index
// keys are written whenever the layer has an indexer of its own, so kIndexCacheWrite is not among
// them.)
bool is_selection(Stage stage);

}  // namespace dsaperf::model
