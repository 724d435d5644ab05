#pragma once

#include "dsaperf/serving/deployment.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <vector>

namespace dsaperf::serving {

// Every layout of one engine on up to `gpus` GPUs, and on up to `largest` a worker.
struct LayoutSearch {
  int gpus = 8;
  int largest = 16;
  bool context_parallel = false;  // GLM, DeepSeek-V3 on SGLang: prompts split over ranks
  bool two_stages = false;        // pipelines of two stages as well
};
std::vector<Layout> layouts(Engine engine, const ModelShape& shape, const LayoutSearch& search);

}  // namespace dsaperf::serving
