#pragma once

#include "dsaperf/core/text_table.hpp"
#include "dsaperf/cost/bound.hpp"
#include "dsaperf/cost/stage_cost.hpp"
#include "dsaperf/cost/system_spec.hpp"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <vector>

namespace dsaperf::report {

// A whole layer as tables have it, to stand beside the bound of its stages.
struct MeasuredLayer {
  std::string backend, version;
  std::string kv_dtype, gemm_dtype;
  Micros time;
  std::string source;  // "measured", "interpolated", ...
};

// One layer on one rank, stage by stage: what it must compute and move, and how long that takes at
// best.
struct LayerCostReport {
  std::string model;
  std::string title;  // the shape, for people
  cost::SystemSpec system;
  cost::Shape shape;
  cost::LayerCost cost;
  std::vector<MeasuredLayer> measured;
  std::vector<std::string> warnings;
};

std::string text(const LayerCostReport& report, const TextStyle& style);
nlohmann::ordered_json json(const LayerCostReport& report);  // dsaperf.query.1, with `stages`

}  // namespace dsaperf::report
