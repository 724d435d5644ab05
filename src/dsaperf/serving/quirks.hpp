#pragma once

#include "dsaperf/core/error.hpp"

#include <bitset>
#include <span>
#include <string>
#include <string_view>

namespace dsaperf::serving {

// Known flaws of aiconfigurator 0.12 that the compatible method reproduces. Each can be switched
// off; then what is physically meant takes its place.
enum class Quirk {
  kGlmFp8AttentionAsBf16,    // layernorm names among the unconverted modules make attention bf16
  kDenseLayersAsMoe,         // first_k_dense_replace is ignored
  kSharedExpertByMoeTp,      // a shared expert is whole on every rank under expert parallelism
  kPointToPointAcrossNodes,  // pipeline transfers run at the speed between nodes, also inside one
  kDraftLayerFree,           // weights and caches of MTP layers do not count
  kPlainCacheRows,    // no fp8 scales in latent rows; layers that share a selection have index keys
  kWidthFromHeadDim,  // activation memory from heads * head_dim instead of the hidden size
  kQueueFactor,       // a time to first token of 1.9 to 4 prefills, at one request as well
  kThreeStepsLess,    // three mixed steps are left out of TPOT
  kAllReduceTwice,    // DeepSeek-V3 on vLLM pays for each all-reduce twice
  kDisaggregatedMargins,  // fixed margins on passes, first token and rates of disaggregated workers
  kTransferFree,          // a prompt's cache takes no time from a prefill to a decode worker
  kRoundedWorkerRates,    // a worker's requests a second have three decimals before they are used
  kSameTpOnSglang,        // a sweep's prefill and decode workers of SGLang have the same tp
  kRankedWithoutCp,       // a sweep ranks prefill workers as if context parallelism took no GPUs
  kNarrowSearch,          // a sweep of disaggregated workers leaves most of them out
  kExchangesOfOneNode,    // DeepEP's exchanges over nodes without rows take as long as in one node
  kDecodeDiscount,        // TensorRT-LLM's decode layers take 0.9 of their time beside DeepEP
  kAggregatedByCollectives,  // an aggregated estimate has no exchanges between nodes
  kInterpolatedAttention,    // sparse attention is interpolated over kernels, held beyond the rows
  kLinksOfOneGpu,            // collectives over nodes have one GPU's link for all that it sends
  kHostTimeInGemms,          // rows that hold the host's time to launch a GEMM count as they are
};
inline constexpr int kQuirkCount = 22;

// Stable snake_case name, and one sentence on what it does.
std::string_view name(Quirk quirk);
std::string_view describe(Quirk quirk);
std::span<const Quirk> all_quirks();

class Quirks {
 public:
  static Quirks all() { return Quirks(std::bitset<kQuirkCount>().set()); }
  static Quirks none() { return Quirks({}); }
  // "all" or "none", then changes after commas:
  // "all,-queue_factor", "none,dense_layers_as_moe". Fails with kInvalidArgument on an unknown
  // name.
  static Result<Quirks> parse(std::string_view text);

  bool has(Quirk quirk) const { return bits_.test(static_cast<std::size_t>(quirk)); }
  void set(Quirk quirk, bool on) { bits_.set(static_cast<std::size_t>(quirk), on); }

 private:
  explicit Quirks(std::bitset<kQuirkCount> bits) : bits_(bits) {}
  std::bitset<kQuirkCount> bits_;
};

}  // namespace dsaperf::serving
