#pragma once

#include "dsaperf/predict/compatible/operator_set.hpp"
#include "dsaperf/serving/candidate.hpp"
#include "dsaperf/serving/disaggregated_pairs.hpp"
#include "dsaperf/serving/disaggregated_plan.hpp"
#include "dsaperf/serving/host_costs.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <optional>
#include <string>
#include <vector>

namespace dsaperf::serving {

// What is asked of every engine and layout of a sweep alike.
struct SweepTask {
  const model::ModelSpec& spec;
  const SweepInputs& in;
  ModelShape shape;

  bool compatible() const { return in.method == Method::kCompatible; }
};

// An engine whose tables opened.
struct SweptEngine {
  Engine engine = Engine::kSglang;
  predict::compatible::OperatorSet set;
  HostCosts host = {};
  // GPUs of a worker, at most, where no exchanges between nodes were measured. The aggregated are
  // as the decode workers: those need exchanges of both phases too, since the package counts their
  // weights in the operators of prefill.
  int largest_prefill = 16;
  int largest_decode = 16;
  bool between_nodes = false;  // whether experts may be over several
};

// A layout of an engine, its passes and what came of it.
struct SweptLayout {
  const SweptEngine* engine = nullptr;
  Layout layout;
  std::optional<PassModel> model;
  std::optional<PassModel> prefill_model;  // as a worker for prefill, where that is another
  std::optional<Capacity> capacity;        // method model
  std::vector<Candidate> points;           // that fit
  RoleTimes roles;                         // method model: as a worker of one kind
  PhaseWorkers phases;                     // method compatible: the same
  std::string rejected;                    // why there are no points
  int priced = 0;
  bool memory_ends = false;  // the list of points
};

// Prefill tokens of a step; method model.
inline double prefill_chunk(const SweptLayout& swept) {
  return default_chunk(swept.engine->engine, swept.layout, swept.engine->set.system().mem_capacity);
}

// The layouts of an engine with their passes, nothing priced. Method compatible: notes how large
// the engine's workers may be. They refer to the engine.
std::vector<SweptLayout> swept_layouts(const SweepTask& task, SweptEngine& engine);

}  // namespace dsaperf::serving
