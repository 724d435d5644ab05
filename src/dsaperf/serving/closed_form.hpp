#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/memory_model.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <optional>
#include <string>

namespace dsaperf::serving {

// What the requests look like. All alike.
struct Workload {
  double isl = 0;     // prompt, the cached prefix included
  double osl = 0;     // answer, the first token included
  double prefix = 0;  // tokens of the prompt that are cached already
};
// Fails, with the numbers, where they are not those of a request.
Result<void> check_workload(const Workload& work);

// Options of a worker; empty = the engine's default.
struct EngineOptions {
  std::optional<double> memory_fraction;
  std::optional<double> max_sequence;
  double tokens_a_step = 1;  // that a decode step keeps of a request (1 without draft tokens)
};

// A worker as aiconfigurator 0.12 estimates it.
struct ClosedForm {
  double ttft_ms = 0;
  double tpot_ms = 0;
  double request_ms = 0;
  double output_tok_s = 0;  // of the worker
  double request_s = 0;     // requests a second, of the worker
  double concurrency = 0;   // requests in the worker
  PassTime context;         // in flight: the mixed step
  PassTime generation;      // static: all steps together; in flight: one step of decode alone
  MemoryUse memory;
  Fit fit = Fit::kFits;

  double output_tok_s_per_gpu(int gpus) const { return output_tok_s / gpus; }

  // In flight only.
  double mixed_steps = 0;
  double decode_steps = 0;
  double mixed_decode_requests = 0;
};

// With three decimals, as the package's tables have them: a half goes to the even one.
double three_decimals(double value);

enum class StaticPhase { kBoth, kContext, kGeneration };

// A batch of `batch` requests a rank: prefill together, then decode together. Decode is asked at
// every `stride`th length.
Result<ClosedForm> static_batch(const PassModel& model, const perfdb::SystemFile& system,
                                const std::string& version, const Workload& work, double batch,
                                StaticPhase phase, const EngineOptions& options = {},
                                double stride = 32);

// In-flight batching: `batch` requests a rank at any time, `chunk` prefill tokens a step.
Result<ClosedForm> in_flight(const PassModel& model, const perfdb::SystemFile& system,
                             const std::string& version, const Workload& work, double batch,
                             double chunk, const EngineOptions& options = {});

}  // namespace dsaperf::serving
