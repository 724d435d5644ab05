#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/serving/capacity.hpp"
#include "dsaperf/serving/closed_form.hpp"
#include "dsaperf/serving/disaggregated.hpp"
#include "dsaperf/serving/disaggregated_form.hpp"
#include "dsaperf/serving/simulation.hpp"

#include <optional>
#include <string>
#include <vector>

namespace dsaperf::serving {

enum class Mode { kInFlight, kStatic, kDisaggregated };
enum class Method {
  kModel,       // tables, exact memory, a simulation of the engine's scheduler, host costs
  kCompatible,  // aiconfigurator 0.12's own
};

// What load generators draw lengths from where nobody says (InferenceX's client). Equal requests
// that start together would stay in step to the end, which no traffic does.
inline constexpr double kClientLengthRatio = 0.8;
inline constexpr double kLeastLengthRatio = 0.01;
// That are simulated, or run at a time.
inline constexpr int kMostRequests = 1 << 20;
inline constexpr int kMostDrafts = 64;
inline constexpr double kLeastMemoryFraction = 0.01;

// Workers of one kind, where prefill and decode have their own.
struct Workers {
  int count = 1;
  Layout layout;
  std::optional<double> memory_fraction;
  std::optional<double> max_batch;  // of one attention rank: prompts or requests at a time
  std::optional<double> chunk;      // prefill tokens a step, of one attention rank

  int gpus() const { return count * layout.gpus(); }
};

// One deployment and what it is asked.
struct EstimateInputs {
  Engine engine = Engine::kSglang;
  Mode mode = Mode::kInFlight;
  Method method = Method::kModel;
  Layout layout;
  Workers prefill, decode;  // instead of `layout`, disaggregated
  FormatChoice formats;
  double isl = 0, osl = 0;
  double prefix = 0;  // cached tokens of a prompt
  // Lengths are uniform between this part of isl and osl, and all of it. Empty: kClientLengthRatio,
  // with a warning.
  std::optional<double> length_ratio;
  std::optional<double> concurrency;  // of the whole worker
  std::optional<double> rate_per_s;
  std::optional<double> memory_fraction;
  std::optional<double> max_batch;  // of one attention rank
  std::optional<double> chunk;      // prefill tokens a step, of one attention rank
  int draft_tokens = 0;
  double draft_kept = 0;  // of them, on average a step
  int prompts = 0;
  // Of the first requests: the server has them cached, if all fit. Empty: none.
  std::optional<int> repeated_prompts;
  std::string host;  // changes of HostCosts: "launch_us=900,request_ms=60"
  // Of the engine that is asked for; an older vLLM's attention computes whole selections.
  EngineAge age = EngineAge::kOfTables;
  Quirks quirks = Quirks::all();  // of the compatible method
};

struct Estimate {
  EstimateInputs inputs;
  int gpus = 0;  // of the whole deployment
  std::string model, system, version;
  Formats formats;
  bool fits = false;
  std::string reason;  // why it does not
  // Means over the requests of the simulation, its start included, where all arrive at once: what a
  // load generator reports. Percentiles are in `simulation`.
  std::optional<double> ttft_ms, tpot_ms, request_ms;
  std::optional<double> output_tok_s, output_tok_s_per_gpu, requests_s;
  double concurrency = 0;  // asked, or seen by the simulation
  double chunk = 0, max_batch = 0, length_ratio = 1;
  MemoryUse memory;                                  // disaggregated: of a decode worker
  std::optional<MemoryUse> prefill_memory;           // disaggregated
  std::optional<Capacity> capacity;                  // method model
  std::optional<SimulationResult> simulation;        // method model, in flight
  HostCosts host;                                    // method model
  std::optional<DisaggregatedResult> disaggregated;  // method model, disaggregated
  std::optional<Capacity> prefill_capacity;          // the same; `capacity` is of a decode worker
  double transfer_ms = 0;                            // the same: of the cache of a prompt of isl
  std::optional<ClosedForm> closed_form;
  PassTime context, generation;  // one pass of each, by operator
  std::vector<std::string> warnings;
};

// Fails where the tables cannot answer or inputs contradict each other. A deployment that does not
// fit is an answer: `fits` is false, `reason` says why, and there are no times.
Result<Estimate> estimate(const model::ModelSpec& spec, predict::compatible::OperatorSet& operators,
                          const EstimateInputs& inputs);

}  // namespace dsaperf::serving
