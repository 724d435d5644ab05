#include "dsaperf/serving/quirks.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <array>

namespace dsaperf::serving {
namespace {

struct Entry {
  Quirk quirk;
  std::string_view name;
  std::string_view text;
};

constexpr std::array<Entry, kQuirkCount> kEntries = {{
    {Quirk::kGlmFp8AttentionAsBf16, "glm_fp8_attention_as_bf16",
     "attention projections of FP8 GLM checkpoints are priced and stored as bf16"},
    {Quirk::kDenseLayersAsMoe, "dense_layers_as_moe",
     "the first dense layers are priced as MoE layers"},
    {Quirk::kSharedExpertByMoeTp, "shared_expert_by_moe_tp",
     "the shared expert is whole on every rank under expert parallelism"},
    {Quirk::kPointToPointAcrossNodes, "point_to_point_across_nodes",
     "pipeline transfers run at the speed between nodes"},
    {Quirk::kDraftLayerFree, "draft_layer_free",
     "weights, caches and prefill of MTP layers do not count"},
    {Quirk::kPlainCacheRows, "plain_cache_rows",
     "latent rows have no fp8 scales, and layers that share a selection keep index keys"},
    {Quirk::kWidthFromHeadDim, "width_from_head_dim",
     "activation memory follows heads * head_dim instead of the hidden size"},
    {Quirk::kQueueFactor, "queue_factor",
     "time to first token is 1.9 to 4 prefills (vLLM: 1 to 2)"},
    {Quirk::kThreeStepsLess, "three_steps_less", "three mixed steps are left out of TPOT"},
    {Quirk::kAllReduceTwice, "all_reduce_twice",
     "DeepSeek-V3 on vLLM pays for each all-reduce twice"},
    {Quirk::kDisaggregatedMargins, "disaggregated_margins",
     "disaggregated: a prefill pass takes 1.1 and a decode pass 1.08 times as long, a first token "
     "1.8 of such prefills, and 0.9 and 0.92 of the requests a second are reached"},
    {Quirk::kTransferFree, "transfer_free",
     "disaggregated: a prompt's cache reaches the decode worker in no time"},
    {Quirk::kRoundedWorkerRates, "rounded_worker_rates",
     "disaggregated: a worker's requests a second are rounded to three decimals"},
    {Quirk::kSameTpOnSglang, "same_tp_on_sglang",
     "sweep, disaggregated: prefill and decode workers of SGLang have the same tp, unless one "
     "exchanges experts by DeepEP"},
    {Quirk::kRankedWithoutCp, "ranked_without_cp",
     "sweep, disaggregated: prefill workers are ranked as if context parallelism took no GPUs"},
    {Quirk::kNarrowSearch, "narrow_search",
     "sweep, disaggregated: 32 prefill workers, 16 batches of a decode layout and 5 decode layouts "
     "a TPOT limit are kept, one prompt a prefill rank, in groups of 1, 2, 4, 8, 16, 24 ... 128 "
     "GPUs (any number up to 512 where DeepEP's exchanges were measured)"},
    {Quirk::kExchangesOfOneNode, "exchanges_of_one_node",
     "DeepEP's exchanges over several nodes that were not measured take the time of one full node"},
    {Quirk::kDecodeDiscount, "decode_discount",
     "TensorRT-LLM with experts behind DeepEP: a layer of decode takes 0.9 of its operators' time"},
    {Quirk::kAggregatedByCollectives, "aggregated_by_collectives",
     "estimate, aggregated: experts over several nodes get their tokens by collectives, not by "
     "DeepEP's exchanges"},
    {Quirk::kInterpolatedAttention, "interpolated_attention",
     "sparse attention is linear between rows, also where kernels change at topk, and beyond them "
     "keeps the utilisation of the nearest"},
    {Quirk::kLinksOfOneGpu, "links_of_one_gpu",
     "a collective over nodes takes that inside a node times how much slower one GPU's link "
     "between "
     "nodes is, its launch and wait too"},
    {Quirk::kHostTimeInGemms, "host_time_in_gemms",
     "vLLM's rows of block-scaled GEMMs count although they hold the host's time to launch them"},
}};

constexpr auto kAll = [] {
  std::array<Quirk, kQuirkCount> all{};
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = kEntries[i].quirk;
  return all;
}();

const Entry& entry(Quirk quirk) {
  return kEntries[static_cast<std::size_t>(quirk)];
}

}  // namespace

std::string_view name(Quirk quirk) {
  return entry(quirk).name;
}
std::string_view describe(Quirk quirk) {
  return entry(quirk).text;
}
std::span<const Quirk> all_quirks() {
  return kAll;
}

Result<Quirks> Quirks::parse(std::string_view text) {
  Quirks quirks = none();
  bool first = true;
  while (!text.empty()) {
    const auto comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    if (first && (word == "all" || word == "none")) {
      quirks = word == "all" ? all() : none();
      first = false;
      continue;
    }
    first = false;
    const bool off = word.starts_with('-');
    if (off) word.remove_prefix(1);
    const auto* found = std::find_if(kEntries.begin(), kEntries.end(),
                                     [&](const Entry& known) { return known.name == word; });
    if (found == kEntries.end())
      return fail(Errc::kInvalidArgument,
                  "quirk '{}' is not known; dsaperf estimate --help lists them", word);
    quirks.set(found->quirk, !off);
  }
  return quirks;
}

}  // namespace dsaperf::serving
