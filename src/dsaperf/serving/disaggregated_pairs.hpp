#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/candidate.hpp"

#include <vector>

namespace dsaperf::serving {

// A worker for one phase, with `batch` requests a rank.
struct WorkerPoint {
  double batch = 0;
  ClosedForm form;  // without its operators
};

// A layout as a worker for prefill and as one for decode, as aiconfigurator 0.12's sweep lists
// them: what fits, by batch. The models outlive it; null where a layout is no worker of a phase.
struct PhaseWorkers {
  const PassModel* prefill_model = nullptr;
  const PassModel* decode_model = nullptr;
  std::vector<WorkerPoint> prefill, decode;
};
// Fills in the points. A batch that the tables do not answer for is left out. Fails where nothing
// fits.
Result<void> price_workers(PhaseWorkers& workers, const predict::compatible::OperatorSet& operators,
                           const SweepInputs& inputs);

// Pairs of an engine's workers as that sweep matches them, for every limit on TPOT. `between_nodes`
// says whether its tables have DeepEP's exchanges of experts over two nodes.
std::vector<Candidate> paired_workers(const std::vector<PhaseWorkers>& workers,
                                      const predict::compatible::OperatorSet& operators,
                                      const SweepInputs& inputs, bool between_nodes);

// The limits on TPOT for which aiconfigurator keeps the best rows; what is on its front depends on
// them.
std::vector<double> tpot_targets();

}  // namespace dsaperf::serving
