#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/serving/candidate.hpp"

#include <functional>
#include <string>
#include <vector>

namespace dsaperf::serving {

struct SweepResult {
  SweepInputs inputs;
  std::string model, system;
  // The best of each engine and layout, by throughput; those within the limits first.
  std::vector<Candidate> candidates;
  // Throughput a GPU against tokens a second a user, slowest user first: of all points, and of
  // those with and without workers of their own for prefill.
  std::vector<Candidate> pareto, aggregated_pareto, disaggregated_pareto;
  std::vector<Rejected> rejected;
  int points = 0;  // operating points that were priced
  std::vector<std::string> warnings;
};

// `open` gives the tables of an engine, from several threads at once; one that fails is left out,
// with a warning. The answer does not depend on the number of threads.
using OpenTables = std::function<Result<predict::compatible::OperatorSet>(Engine)>;
Result<SweepResult> sweep(const model::ModelSpec& spec, const std::vector<Engine>& engines,
                          const OpenTables& open, const SweepInputs& inputs);

}  // namespace dsaperf::serving
