#include "dsaperf/serving/capacity.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/model/cache_bytes.hpp"
#include "dsaperf/model/model_weights.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kGibi = 1 << 30;
constexpr double kHalf = 2;
// Engines split the queries of a chunk where their scores would need more.
constexpr double kScoreBufferLimit = 2 * kGibi;

// Buffers alive at the widest point of a layer: residual and norm, queries and their latents, the
// inputs and outputs of a token's experts.
double activation_bytes(const PassModel::Inputs& in, const model::ModelSpec& spec, double tokens) {
  const auto& g = model::typical_layer(spec).geometry;
  const double heads = static_cast<double>(in.shape.heads) / in.layout.tp;
  const double attention = heads * (g.nope + g.rope + 2.0 * g.kv_lora);
  const double experts = in.shape.topk *
                         (in.shape.hidden + 3.0 * in.shape.moe_inter / in.layout.moe_tp) /
                         in.layout.moe_ep * in.layout.dp;
  return tokens * kHalf * (4.0 * in.shape.hidden + std::max(attention, experts));
}

std::string shortfall(const Capacity& capacity, const PassModel::Inputs& in, double needed) {
  const double missing = needed - std::max(capacity.cache_tokens, 0.0);
  if (capacity.use.weights >= capacity.card_bytes)
    return fmt::format(
        "weights of {:.1f} GiB a GPU do not fit into {:.1f} GiB; more GPUs (tp or ep), pp, or a "
        "smaller format "
        "would make it fit",
        capacity.use.weights / kGibi, capacity.card_bytes / kGibi);
  return fmt::format(
      "the cache holds {:.0f} tokens a rank beside {:.1f} GiB of weights and a request needs "
      "{:.0f}; {} more GiB, a "
      "higher memory fraction, {}or more GPUs would make it fit",
      std::max(capacity.cache_tokens, 0.0), capacity.use.weights / kGibi, needed,
      fmt::format("{:.1f}", missing * capacity.cache_bytes_per_token / kGibi),
      in.formats.kv == "fp8" ? "" : "an fp8 cache, ");
}

}  // namespace

std::string default_kv(Engine engine, int sm_version) {
  switch (engine) {
    case Engine::kVllm:
      return "fp8";
    case Engine::kSglang:
    case Engine::kTrtllm:
      return sm_version >= 100 ? "fp8" : "bfloat16";
  }
  return "bfloat16";
}

Capacity capacity(const model::ModelSpec& spec, const PassModel::Inputs& inputs,
                  const perfdb::SystemFile& system, const std::string& version,
                  const CapacityLoad& load, std::optional<double> memory_fraction) {
  Capacity result;
  result.card_bytes = system.mem_capacity;
  const bool drafts = load.draft_tokens > 0;
  const auto& l = inputs.layout;
  const auto weights = model::total(
      model::model_weights(spec, {.tp = l.tp, .dp = l.dp, .ep = l.moe_ep, .moe_tp = l.moe_tp}),
      drafts);
  result.use.weights = static_cast<double>(weights.rank_bytes.value) / l.pp;

  const auto kv = inputs.formats.kv == "bfloat16" ? model::KvFormat::kBf16 : model::KvFormat::kFp8;
  const auto cache = model::model_cache(spec, kv, drafts);
  result.cache_bytes_per_token = (cache.kv_bytes_per_token + cache.index_bytes_per_token) / l.pp;

  result.score_buffer = model::is_sparse(spec)
                            ? std::min(load.chunk * (load.isl + load.osl) * 4, kScoreBufferLimit)
                            : 0;
  result.use.activations = activation_bytes(inputs, spec, load.chunk) + result.score_buffer;
  const auto buffers = system.nccl_mem.upper_bound(std::min(l.tp * l.dp, 8));
  result.use.nccl = buffers == system.nccl_mem.begin() ? 0 : std::prev(buffers)->second;
  result.use.others = system.other_mem;

  const auto budget = cache_budget(inputs.engine, version, l, result.card_bytes, BudgetUse::kStatic,
                                   memory_fraction);
  // SGLang's fraction covers weights and cache; activations live in what it leaves.
  const double beside = inputs.engine == Engine::kSglang ? result.use.weights : result.use.total();
  const double room =
      std::min(budget.bytes(result.card_bytes, beside), result.card_bytes - result.use.total());
  result.cache_tokens = std::floor(room / result.cache_bytes_per_token);
  const double needed = load.isl + load.osl;
  result.cache_requests = std::max(std::floor(result.cache_tokens / needed), 0.0);
  result.fits = result.cache_tokens >= needed;
  result.use.kv_cache = std::max(room, 0.0);
  if (!result.fits) result.reason = shortfall(result, inputs, needed);
  return result;
}

}  // namespace dsaperf::serving
