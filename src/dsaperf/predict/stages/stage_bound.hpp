#pragma once

#include "dsaperf/predict/stages/terms.hpp"

#include <array>

namespace dsaperf::predict::stages {

// The least time of each stage: its arithmetic at the card's peak or its bytes at the peak
// bandwidth, whichever is longer (cost::bound, docs/formulas.md).
struct StageBound {
  double math_ms = 0, memory_ms = 0;
  double ms() const { return math_ms > memory_ms ? math_ms : memory_ms; }
};

// All zero for a stage that does not run, and for sizes that cost refuses (over 2^40 tokens).
std::array<StageBound, model::kStageCount> stage_bounds(const Setting& setting, const Sizes& sizes);

}  // namespace dsaperf::predict::stages
