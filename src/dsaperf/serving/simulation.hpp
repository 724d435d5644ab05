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

// Time of one step of an engine, host work included. The seam between the scheduler and what it
// runs.
class StepTimes {
 public:
  virtual ~StepTimes() = default;
  // Prefill of `chunks` and one decode token of `decoding` requests of mean length `total` in one
  // pass.
  virtual Result<double> mixed_ms(std::span<const Chunk> chunks, double decoding,
                                  double total) const = 0;
  virtual Result<double> decode_ms(double decoding, double total) const = 0;
};

// Steps of decode at most that are priced as one stretch, at the lengths of its middle.
inline constexpr double kStride = 32;

struct SimulationInputs {
  Engine engine = Engine::kSglang;
  Traffic traffic;
  int max_batch = 0;         // requests that decode together
  double chunk = 0;          // prefill tokens a step at most
  double cache_tokens = 0;   // that fit
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
  double mean_batch = 0;     // requests that decode, over time
  double waiting_share = 0;  // of requests that waited for room in the cache
  double preempted = 0;      // requests whose cache was taken and filled again
  int requests = 0;
};

// One scheduler of an engine, step by step: what arrives, what is admitted, what a step holds.
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
// Stretches of decode between two events are taken in strides of kStride. Deterministic for a seed.
// Fails where a prompt never fits.
Result<SimulationResult> simulate(const SimulationInputs& inputs, const StepTimes& times);

}  // namespace dsaperf::serving
