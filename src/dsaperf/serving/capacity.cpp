#include "dsaperf/serving/capacity.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/model/cache_bytes.hpp"
#include "dsaperf/model/model_weights.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kHalf = 2;
// Engines split the queries of a chunk where their scores would need more.
constexpr double kScoreBufferLimit = 2 * kGibi;

// Rows of a grouped product are padded to this many an expert.
constexpr double kExpertRows = 128;
// vLLM measures its peak with a batch of this size in the sampler, which sorts the logits (f32
// logits and probabilities, 64-bit places); where it verifies draft tokens, with two rows a
// request.
constexpr double kVllmSampled = 1024;
constexpr double kSamplerBytes = 4 + 4 + 8;

// vLLM gathers the index keys of a prefill batch into a buffer of so many of the longest sequences
// that the model allows.
constexpr double kVllmGathered = 40;

// Buffers alive at the widest points of a layer: residual and norms, and the larger of queries and
// outputs in the latent space and of the inputs and outputs of the experts.
double activation_bytes(const PassModel::Inputs& in, const model::ModelSpec& spec, int sm_version,
                        double tokens) {
  const auto& g = model::typical_layer(spec).geometry;
  const bool sparse = model::is_sparse(spec);
  const double own_heads = static_cast<double>(in.shape.heads) / in.layout.tp;
  const double heads = sparse ? std::max(own_heads, least_heads(sm_version)) : own_heads;
  const double attention = tokens * heads * (2.0 * g.kv_lora + g.rope);
  const double rows = tokens * in.layout.dp * in.shape.topk / in.layout.moe_ep +
                      kExpertRows * in.shape.experts / in.layout.moe_ep;
  const double experts =
      rows * (2.0 * in.shape.hidden + 3.0 * in.shape.moe_inter / in.layout.moe_tp);
  const double sampled = kVllmSampled * (in.draft_tokens > 0 ? 2 : 1);
  const double sampler = in.engine == Engine::kVllm ? sampled * in.shape.vocab * kSamplerBytes : 0;
  return kHalf * (4.0 * tokens * in.shape.hidden + std::max(attention, experts)) + sampler;
}

// What SGLang calls tp_size, by which it sets memory aside, are all ranks of a pipeline stage.
Layout with_sglangs_tp(Layout layout) {
  layout.tp *= layout.dp * layout.cp;
  return layout;
}

constexpr double kSmallestGraph = 8;

std::string shortfall(const Capacity& capacity, const PassModel::Inputs& in, double needed) {
  // Fewer than none are in the cache where weights and buffers take more than the engine gives.
  const double missing = needed - capacity.cache_tokens;
  if (capacity.use.weights >= capacity.card_bytes)
    return fmt::format(
        "weights of {:.1f} GiB a GPU do not fit into {:.1f} GiB; more GPUs (tp or ep), pp, or a "
        "smaller format "
        "would make it fit",
        capacity.use.weights / kGibi, capacity.card_bytes / kGibi);
  return fmt::format(
      "the cache holds {:.0f} tokens a rank beside {:.1f} GiB of weights and a request needs "
      "{:.0f}; {:.2f} more GiB, a "
      "higher memory fraction, {}or more GPUs would make it fit",
      std::max(capacity.cache_tokens, 0.0), capacity.use.weights / kGibi, needed,
      missing * capacity.cache_bytes_per_token * in.layout.pp / kGibi,
      in.formats.kv == "fp8" ? "" : "an fp8 cache, ");
}

}  // namespace

double default_chunk(Engine engine, const Layout& layout, double card_bytes) {
  if (engine != Engine::kSglang) return 8192;
  const double whole = card_bytes >= 160 * kGibi ? 16384 : 8192;
  return std::floor(whole / layout.dp);
}

std::string default_kv(Engine engine, int sm_version, const model::ModelSpec& spec) {
  switch (engine) {
    case Engine::kVllm:
      return spec.kv_format == model::KvFormat::kFp8 ? "fp8" : "bfloat16";
    case Engine::kSglang:
    case Engine::kTrtllm:
      return sm_version >= 100 ? "fp8" : "bfloat16";
  }
  return "bfloat16";
}

double least_heads(int sm_version) {
  return sm_version >= 100 ? 128 : 64;
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
  result.use.activations =
      activation_bytes(inputs, spec, system.sm_version, load.chunk) + result.score_buffer;
  if (inputs.engine == Engine::kVllm && model::is_sparse(spec))
    result.use.activations +=
        kVllmGathered * static_cast<double>(spec.max_positions) *
        static_cast<double>(model::layer_cache(model::typical_layer(spec), kv).index_row.value);
  const auto buffers = system.nccl_mem.upper_bound(std::min(l.tp * l.dp, 8));
  result.use.nccl = buffers == system.nccl_mem.begin() ? 0 : std::prev(buffers)->second;
  result.use.others = system.other_mem;

  const Layout all = with_sglangs_tp(l);
  auto budget = cache_budget(inputs.engine, version, all, result.card_bytes, BudgetUse::kStatic,
                             memory_fraction);
  // SGLang's fraction is of what was free before the weights were loaded, and covers weights and
  // cache; activations live in what it leaves.
  const bool sglang = inputs.engine == Engine::kSglang;
  const double whole =
      sglang ? result.card_bytes - result.use.others - result.use.nccl : result.card_bytes;
  const double beside = sglang ? result.use.weights : result.use.total();
  const double free = result.card_bytes - result.use.total();
  const double needed = load.isl + load.osl;
  const auto room_for = [&] { return std::min(budget.bytes(whole, beside), free); };
  // A pipeline holds the requests of as many schedulers as it has stages, each through all of them.
  const auto tokens_in = [&](double bytes) {
    return std::floor(bytes / result.cache_bytes_per_token / l.pp);
  };
  if (sglang && l.dp > 1 && !memory_fraction && tokens_in(free) >= needed) {
    double graph = sglang_largest_graph(all, result.card_bytes);
    while (tokens_in(room_for()) < needed && graph > kSmallestGraph) {
      graph /= 2;
      result.largest_graph = graph;
      budget.fraction = sglang_fraction(all, result.card_bytes, graph);
    }
  }
  const double room = room_for();
  result.cache_tokens = tokens_in(room);
  result.cache_requests = std::max(std::floor(result.cache_tokens / needed), 0.0);
  result.fits = result.cache_tokens >= needed;
  result.use.kv_cache = std::max(room, 0.0);
  if (!result.fits) result.reason = shortfall(result, inputs, needed);
  return result;
}

}  // namespace dsaperf::serving
