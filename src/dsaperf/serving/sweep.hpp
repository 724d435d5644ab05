#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/model/model_spec.hpp"
#include "dsaperf/serving/estimate.hpp"

#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::serving {

struct SweepInputs {
  int gpus = 8;
  double isl = 0, osl = 0;
  double prefix = 0;
  double ttft_limit_ms = std::numeric_limits<double>::infinity();
  double tpot_limit_ms = std::numeric_limits<double>::infinity();
  Method method = Method::kModel;
  FormatChoice formats;
  int most_requests = 512;  // of one attention rank
  bool aggregated = true;
  bool disaggregated = true;  // method model
  // Best candidates that are simulated as well (method model): percentiles, and whether the limits
  // hold then too.
  int simulate = 3;
  int threads = 0;  // 0: as many as the machine has
};

// Where a candidate prefills: workers of their own.
struct PrefillSide {
  Layout layout;
  int workers = 0;
  int decode_workers = 0;  // that they serve
  double busy = 0;         // share of the time
};

// One way to use the GPUs: a layout of workers, how many requests each holds, and what comes of it.
struct Candidate {
  Engine engine = Engine::kSglang;
  std::string version;
  Layout layout;
  Formats formats;
  double batch = 0;  // requests of one attention rank
  double chunk = 0;  // prefill tokens a step
  int workers = 0;   // of this layout (disaggregated: groups of workers) on the GPUs
  ClosedForm form;   // of one worker
  bool meets_limits = false;
  std::string binds;  // what stops one more request: "ttft", "tpot", "memory", "batch", "prefill"
  std::optional<PrefillSide> prefill;          // disaggregated; `layout` is of a decode worker
  std::optional<SimulationResult> simulation;  // of one worker

  int gpus() const {
    return prefill
               ? prefill->workers * prefill->layout.gpus() + prefill->decode_workers * layout.gpus()
               : layout.gpus();
  }
  double tok_s_per_user() const { return form.tpot_ms > 0 ? 1000 / form.tpot_ms : 0; }
  double tok_s_per_gpu() const { return form.output_tok_s / gpus(); }
  // Of all GPUs, those that no worker uses included.
  double tok_s_per_cluster_gpu(int gpus) const {
    return tok_s_per_gpu() * workers * this->gpus() / gpus;
  }
};

struct Rejected {
  Engine engine = Engine::kSglang;
  std::string layout;
  std::string reason;
};

struct SweepResult {
  SweepInputs inputs;
  std::string model, system;
  std::vector<Candidate>
      candidates;  // the best of each engine and layout, by throughput; limits first
  std::vector<Candidate>
      pareto;  // throughput a GPU against tokens a second a user, slowest user first
  std::vector<Rejected> rejected;
  int points = 0;  // operating points that were priced
  std::vector<std::string> warnings;
};

// Every layout of one engine on up to `inputs.gpus` GPUs.
std::vector<Layout> layouts(Engine engine, const ModelShape& shape, int gpus,
                            bool with_context_parallel);

// `open` gives the tables of an engine, from several threads at once; one that fails is left out,
// with a warning. The answer does not depend on the number of threads.
using OpenTables = std::function<Result<predict::compatible::OperatorSet>(Engine)>;
Result<SweepResult> sweep(const model::ModelSpec& spec, const std::vector<Engine>& engines,
                          const OpenTables& open, const SweepInputs& inputs);

// Command lines that start a worker of this candidate, one a line; disaggregated: one of prefill
// and one of decode.
std::string launch_command(const Candidate& candidate, const std::string& model);

}  // namespace dsaperf::serving
