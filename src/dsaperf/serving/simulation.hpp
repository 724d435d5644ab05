#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/deployment.hpp"
#include "dsaperf/serving/traffic.hpp"

#include <span>
#include <vector>

namespace dsaperf::serving {

// A part of a prompt that one step prefills.
struct Chunk {
  double new_tokens = 0;
  double past = 0;
};

// What one attention rank does in a step: prefill of `chunks`, one decode token of `decoding`
// requests of mean length `total`, or both.
struct RankLoad {
  std::span<const Chunk> chunks = {};
  double decoding = 0;
  double total = 0;
};

// Time of one step of a worker, host work included. The seam between the scheduler and what it
// runs.
class StepTimes {
 public:
  virtual ~StepTimes() = default;
  // Of attention ranks that share the experts and wait for each other: of all, or of one that
  // stands for all.
  virtual Result<double> step_ms(std::span<const RankLoad> ranks) const = 0;
};

// Steps of decode at most that are priced as one stretch, at the lengths of its middle.
inline constexpr double kStride = 32;

struct SimulationInputs {
  Engine engine = Engine::kSglang;
  Traffic traffic;
  int ranks = 1;             // copies of the attention
  int max_batch = 0;         // requests of a rank that decode together
  double chunk = 0;          // prefill tokens of a rank and step at most
  double cache_tokens = 0;   // that fit, a rank
  double tokens_a_step = 1;  // a decode step adds to a request (draft tokens that are kept)
};

struct Percentiles {
  double p50 = 0, p90 = 0, p99 = 0, mean = 0;
};
Percentiles percentiles(std::vector<double> values);

struct SimulationResult {
  Percentiles ttft_ms;  // from arrival to the first token
  Percentiles tpot_ms;  // (latency - ttft) / (tokens - 1) of a request
  Percentiles gap_ms;   // between tokens of a request, stalls included: what a reader sees as ITL
  Percentiles request_ms;
  double output_tok_s = 0;
  double requests_s = 0;
  double mean_batch = 0;     // requests of a rank that decode, over time
  double waiting_share = 0;  // of requests that waited for room in the cache
  double preempted = 0;      // requests whose cache was taken and filled again
  int requests = 0;
};

// The schedulers of a worker, one an attention rank, step by step: what arrives, what is admitted,
// what a step holds.
//
//   SGLang        prefill goes first and alone; a prompt longer than the chunk takes several
//                 steps; decode goes on when nothing waits that may be admitted
//   vLLM          every step holds all decode tokens, and prefill up to the chunk beside them
//   TensorRT-LLM  as vLLM, but a prompt is admitted only with room for its whole answer
//
// All three decide a step while the one before runs: who arrives during a step of decode waits for
// the next one as well. SGLang sets aside a part of the answers still to come, which it lowers from
// 0.7 to 0.098 over 600 steps of decode (its new_token_ratio), and raises when that was too little.
//
// Ranks share the experts, so that all wait for the slowest, and one that prefills stalls the
// decode of the others. SGLang gives requests to ranks in turn, whatever became of those before;
// the others give them to the rank with the fewest.
//
// Stretches of decode between two events are taken in strides of kStride. Deterministic for a seed.
// Fails where a prompt never fits.
Result<SimulationResult> simulate(const SimulationInputs& inputs, const StepTimes& times);

}  // namespace dsaperf::serving
