#include "dsaperf/serving/memory_model.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kMebi = 1 << 20;
constexpr double kIndexRow = 132;  // 128 values and a scale
constexpr double kLatent = 512;
constexpr double kRopeBytes = 2.0 * 64;

// Bytes of activations a token and unit of width, halved: by tensor-parallel size 1, 2, 4, 8.
double activation_coefficient(Engine engine, int tp) {
  constexpr double kSglang[] = {28, 17, 13, 13};
  constexpr double kOthers[] = {22, 13, 10, 10};
  const std::size_t at = tp >= 8 ? 3 : tp >= 4 ? 2 : tp >= 2 ? 1 : 0;
  return engine == Engine::kSglang ? kSglang[at] : kOthers[at];
}

double sglang_chunk(double mebi) {
  if (mebi < 35 * 1024) return 2048;
  if (mebi < 60 * 1024) return 4096;
  return mebi < 160 * 1024 ? 8192 : 16384;
}

}  // namespace

double sglang_largest_graph(const Layout& layout, double capacity) {
  const double mebi = capacity / kMebi;
  const bool wide = layout.tp >= 4;
  if (mebi < 20 * 1024) return 8;
  if (mebi < 35 * 1024) return wide ? 80 : 24;
  if (mebi < 60 * 1024) return wide ? 160 : 32;
  return mebi < 160 * 1024 && !wide ? 256 : 512;
}

double sglang_fraction(const Layout& layout, double capacity, double graph_batch) {
  const double mebi = capacity / kMebi;
  const double chunk = sglang_chunk(mebi);
  double reserved = 512 + 1.5 * chunk + layout.tp * layout.pp / 8.0 * 1024 + 2 * graph_batch;
  if (layout.dp > 1) {
    reserved += graph_batch * layout.dp * 3;
    if (graph_batch > 300) reserved += graph_batch * layout.dp * 1.5;
  }
  if (mebi > 60 * 1024) reserved = std::max(reserved, 10.0 * 1024);
  return std::round((mebi - reserved) / mebi * 1000) / 1000;
}

double cache_bytes_per_token(const ModelShape& shape, const Formats& formats,
                             const Quirks& quirks) {
  const bool fp8 = formats.kv != "bfloat16";
  const double plain = kLatent * (fp8 ? 1 : 2);
  if (shape.attention == ModelShape::Attention::kMla)
    return shape.layers * (kLatent + 64) * (fp8 ? 1 : 2);
  const bool exact = !quirks.has(Quirk::kPlainCacheRows);
  const double row = plain + kRopeBytes + (exact && fp8 ? 4 * kLatent / 128 : 0);
  const double with_index = exact ? shape.full_layer_share * shape.layers : shape.layers;
  const double drafts = quirks.has(Quirk::kDraftLayerFree) ? 0 : shape.mtp_layers;
  return (shape.layers + drafts) * row + (with_index + drafts) * kIndexRow;
}

MemoryUse memory_use(const PassModel& model, const perfdb::SystemFile& system,
                     const MemoryLoad& load) {
  const auto& in = model.inputs();
  const auto& shape = in.shape;
  const bool sglang = in.engine == Engine::kSglang;
  const double width = in.quirks.has(Quirk::kWidthFromHeadDim)
                           ? static_cast<double>(shape.heads) * shape.head_dim
                           : shape.hidden;
  const double moe_width = sglang ? shape.hidden : width;

  MemoryUse use;
  use.weights = model.weight_bytes();
  double activations =
      2 * load.step_tokens * width * activation_coefficient(in.engine, in.layout.tp);
  // Block scales of the experts' input: a float for 128 values.
  activations += load.step_tokens * moe_width * in.layout.dp * shape.experts * shape.topk /
                 in.layout.moe_ep / 128 * 4;
  activations = std::max(activations, (sglang ? 90 : 70) * kMebi);
  if (in.draft_tokens > 0 && load.step_tokens > 0) {
    const double draft = std::clamp(load.draft_share, 0.0, load.step_tokens);
    activations *= (load.step_tokens + draft * in.draft_tokens) / load.step_tokens;
  }
  use.activations = activations * (sglang ? 1.15 : 1);
  use.kv_cache =
      load.sequences * load.sequence_tokens * cache_bytes_per_token(shape, in.formats, in.quirks);
  const auto buffers = system.nccl_mem.upper_bound(std::min(in.layout.tp, 8));
  use.nccl = buffers == system.nccl_mem.begin() ? 0 : std::prev(buffers)->second;
  use.others = system.other_mem * (sglang ? 1.2 : 1);
  return use;
}

double CacheBudget::bytes(double capacity, double not_cache) const {
  const double scale = (1 - reserved) * (1 - tolerance);
  return of_free ? (capacity - not_cache) * fraction * scale
                 : capacity * fraction * scale - not_cache;
}

CacheBudget cache_budget(Engine engine, const std::string& version, const Layout& layout,
                         double capacity, BudgetUse use, std::optional<double> fraction) {
  CacheBudget budget;
  switch (engine) {
    case Engine::kTrtllm:
      budget = {.fraction = 0.9, .of_free = true, .reserved = 0.015};
      break;
    case Engine::kVllm: {
      const bool older = version.starts_with("0.14") || version.starts_with("0.19");
      budget.fraction = older ? 0.9 : 0.92;
      break;
    }
    case Engine::kSglang:
      budget.fraction =
          use == BudgetUse::kInFlight
              ? 0.88
              : sglang_fraction(layout, capacity, sglang_largest_graph(layout, capacity));
      break;
  }
  if (fraction) budget.fraction = *fraction;
  return budget;
}

Fit fit(const MemoryUse& use, double capacity, const CacheBudget& budget) {
  if (use.total() >= capacity) return Fit::kOutOfMemory;
  if (use.kv_cache > budget.bytes(capacity, use.total() - use.kv_cache)) return Fit::kOutOfCache;
  return Fit::kFits;
}

}  // namespace dsaperf::serving
