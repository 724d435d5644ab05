#pragma once

#include "dsaperf/core/units.hpp"
#include "dsaperf/cost/stage_cost.hpp"
#include "dsaperf/cost/system_spec.hpp"

#include <string_view>

namespace dsaperf::cost {

enum class Binding { kMath, kMemory };
std::string_view name(Binding binding);

// The least time a stage can take on a system: its arithmetic at the peak rates or its HBM traffic
// at peak bandwidth, whichever is longer. No launch, no latency, no imperfect overlap.
struct Bound {
  Micros math;
  Micros memory;
  // false: a rate it needs is not stated for the system, and `math` lacks it.
  bool math_known = true;

  Micros time() const { return math > memory ? math : memory; }
  Binding binds() const { return math > memory ? Binding::kMath : Binding::kMemory; }
};

Bound bound(const StageCost& cost, const SystemSpec& system);

// Of a layer: the sum of its stages' bounds, since each waits for the one before it.
Micros bound(const LayerCost& cost, const SystemSpec& system);

}  // namespace dsaperf::cost
