#include "dsaperf/cost/bound.hpp"

namespace dsaperf::cost {

std::string_view name(Binding binding) {
  return binding == Binding::kMath ? "math" : "memory";
}

Bound bound(const StageCost& cost, const SystemSpec& system) {
  Bound bound;
  for (std::size_t i = 0; i < cost.flops.size(); ++i) {
    if (cost.flops[i] == 0) continue;
    const auto rate = system.peak_flop_per_s[i];
    if (rate)
      bound.math += Micros{cost.flops[i] / *rate * 1e6};
    else
      bound.math_known = false;
  }
  bound.memory = Micros{cost.traffic.total() / system.hbm_bytes_per_s * 1e6};
  return bound;
}

Micros bound(const LayerCost& cost, const SystemSpec& system) {
  Micros sum;
  for (const StageCost& stage : cost.stages()) sum += bound(stage, system).time();
  return sum;
}

}  // namespace dsaperf::cost
