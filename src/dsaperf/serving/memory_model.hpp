#pragma once

#include "dsaperf/core/units.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <optional>
#include <string>

namespace dsaperf::serving {

inline constexpr double kGibi = 1 << 30;  // bytes of a GiB

// Memory of one GPU by part, bytes.
struct MemoryUse {
  double weights = 0;
  double activations = 0;
  double kv_cache = 0;
  double nccl = 0;
  double others = 0;  // driver, libraries, fragmentation
  double total() const { return weights + activations + kv_cache + nccl + others; }
};

// What a worker holds at its peak.
struct MemoryLoad {
  double sequences = 0;        // of one attention rank
  double sequence_tokens = 0;  // each, in the cache
  double step_tokens = 0;      // through the model in one step
  double draft_share = 0;  // of step_tokens that verify draft tokens: each counts 1 + draft tokens
};

// aiconfigurator's memory model: activations by a coefficient a family and tensor-parallel size,
// weights as the operators of the prefill pass hold them.
MemoryUse memory_use(const PassModel& model, const perfdb::SystemFile& system,
                     const MemoryLoad& load);

// Bytes of cache a token of context adds, over all layers.
double cache_bytes_per_token(const ModelShape& shape, const Formats& formats, const Quirks& quirks);

// How much of the card an engine gives to weights and cache, by its own rule:
// SGLang mem_fraction_static and vLLM gpu_memory_utilization are of the whole card, TensorRT-LLM's
// free_gpu_memory_fraction is of what is free once the model is loaded.
struct CacheBudget {
  double fraction = 0;
  bool of_free = false;
  double reserved = 0;
  double tolerance = 0.02;

  // Bytes the cache may take beside what is not cache.
  double bytes(double capacity, double not_cache) const;
};
// SGLang's default mem_fraction_static: what it leaves free grows with its chunk and with the
// requests of its largest CUDA graph, by default those. `layout.tp` is its tp_size.
double sglang_fraction(const Layout& layout, double capacity, double largest_graph);
double sglang_largest_graph(const Layout& layout, double capacity);

enum class BudgetUse { kStatic, kInFlight };
// `fraction`: the user's; empty: the engine's default.
CacheBudget cache_budget(Engine engine, const std::string& version, const Layout& layout,
                         double capacity, BudgetUse use, std::optional<double> fraction);

enum class Fit { kFits, kOutOfMemory, kOutOfCache };
Fit fit(const MemoryUse& use, double capacity, const CacheBudget& budget);

}  // namespace dsaperf::serving
