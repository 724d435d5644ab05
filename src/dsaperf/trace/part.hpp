#pragma once

#include "dsaperf/model/stage.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

namespace dsaperf::trace {

// What a kernel in a trace is for. These are the stages of a DSA layer (model::Stage) as far as the
// names of kernels tell them apart, and the rest of the model: a GEMM's name does not say which
// projection it computes, and a fused kernel does several stages at once. part_of() says into which
// part each stage falls.
enum class Part : std::uint8_t {
  kGemm,                // projections of attention, shared experts, dense MLP, router
  kNorm,                // RMSNorm and LayerNorm, of the residual stream too
  kRopeCacheWrite,      // rope, concatenation of the query, KV quantise and cache write
  kIndexerQuantise,     // Hadamard, quantise, head weights, index-key cache write and gather
  kIndexerScores,       // and their schedule
  kTopk,                // of the indexer, and its translation into cache slots
  kAttention,           // over the selection, and its schedule
  kAttentionCombine,    // of split-KV partials
  kAttentionDense,      // over everything visible: dense regime, or a model without selection
  kActivationQuantise,  // inputs of quantised GEMMs
  kMoe,                 // experts: alignment, grouped GEMM, gated activation, sum
  kMoeRouter,           // scores of the experts, their top-k and its sort
  kMlp,                 // gated activation of a dense MLP
  kAllReduce,           // all communication between GPUs
  kSampling,            // logits to token
  kEmbedding,
  kElementwise,   // arithmetic outside the above
  kCopy,          // cat, cast, contiguous, gather of tensors
  kFill,          // constants written, masks
  kOther,         // known, and none of the above: scheduling, indices, scans
  kUnclassified,  // no rule matches
};
inline constexpr int kPartCount = 21;

// Stable snake_case name: rule files, JSON keys.
std::string_view name(Part part);
std::optional<Part> part_from_name(std::string_view name);
// A few words for tables.
std::string_view title(Part part);
const std::array<Part, kPartCount>& all_parts();

// The part in which a stage's kernels are found.
Part part_of(model::Stage stage);
// Whether some stage of an attention layer falls into the part.
bool in_attention_layer(Part part);
// Whether only a layer with an indexer has it.
bool is_selection(Part part);

// Coarser, where tools cannot tell more: sampling to other become one.
std::string_view group(Part part);

// Which of the two regimes of serving a kernel says it belongs to.
enum class Phase : std::uint8_t { kUnknown, kPrefill, kDecode };
std::string_view name(Phase phase);
std::optional<Phase> phase_from_name(std::string_view name);

}  // namespace dsaperf::trace
