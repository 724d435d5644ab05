#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/compatible/operator_set.hpp"
#include "dsaperf/serving/simulation.hpp"

namespace dsaperf::serving {

// Workers of one kind in a disaggregated deployment. Every attention rank is a server of its own.
struct Pool {
  int ranks = 1;            // over all workers
  int max_batch = 0;        // prompts that a rank prefills, or requests it decodes, together
  double chunk = 0;         // prefill tokens of a step of a rank
  double cache_tokens = 0;  // of a rank
};

struct DisaggregatedInputs {
  Traffic traffic;
  Pool prefill, decode;
  double transfer_ms_per_token = 0;  // of a prompt's cache, from a prefill to a decode worker
  double tokens_a_step = 1;
};

struct DisaggregatedResult {
  SimulationResult requests;     // mean_batch: of one decode rank
  Percentiles prefill_wait_ms;   // for a free prefill rank
  Percentiles transfer_wait_ms;  // for room in a decode rank, after the transfer
  double prefill_busy = 0;       // share of the time that prefill ranks work
  double decode_busy = 0;
};

// Of `bytes` from a prefill to a decode worker, in a deployment of `gpus`: at the speed inside a
// node where all are in one, else between nodes.
double transfer_ms(const perfdb::SystemFile& system, double bytes, int gpus);

// Prompts go to the prefill rank that is free first, in order of arrival, several to a step while
// they fit into its chunk; their caches travel to the decode rank with the fewest requests. The
// first token is there when its cache has arrived. Deterministic for a seed. Fails where a request
// never fits.
Result<DisaggregatedResult> simulate_disaggregated(const DisaggregatedInputs& inputs,
                                                   const StepTimes& prefill,
                                                   const StepTimes& decode);

}  // namespace dsaperf::serving
