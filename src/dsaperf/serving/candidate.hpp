#pragma once

#include "dsaperf/serving/estimate.hpp"

#include <limits>
#include <optional>
#include <string>

namespace dsaperf::serving {

// What is asked of a sweep.
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
  bool disaggregated = true;
  Quirks quirks = Quirks::all();  // of the compatible method
  // Best candidates that are simulated as well (method model): percentiles, and whether the limits
  // hold then too.
  int simulate = 3;
  int threads = 0;  // 0: as many as the machine has
};

// Where a candidate prefills: workers of their own.
struct PrefillSide {
  Layout layout;
  std::string attention_rows;  // their format
  double batch = 1;            // prompts of one attention rank at a time
  int workers = 0;
  int decode_workers = 0;        // that they serve
  double busy = 0;               // share of the time
  double requests_s = 0;         // that one worker could do
  double decode_requests_s = 0;  // and one of decode
  MemoryUse memory;              // of a prefill worker; `form` has that of decode
  std::optional<double> largest_graph = {};
};

// One way to use the GPUs: a layout of workers, how many requests each holds, and what comes of it.
struct Candidate {
  Engine engine = Engine::kSglang;
  std::string version;
  Layout layout;
  Formats formats;
  double batch = 0;                          // requests of one attention rank
  double chunk = 0;                          // prefill tokens a step
  std::optional<double> largest_graph = {};  // that its engine has to be told (Capacity)
  int workers = 0;  // of this layout (disaggregated: groups of workers) on the GPUs
  ClosedForm form;  // of one worker
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
  // Of `gpus` in all, the part that workers use.
  double share_of(int gpus) const { return static_cast<double>(workers) * this->gpus() / gpus; }
  // Of all GPUs, those that no worker uses included.
  double tok_s_per_cluster_gpu(int gpus) const { return tok_s_per_gpu() * share_of(gpus); }
};

struct Rejected {
  Engine engine = Engine::kSglang;
  std::string layout;
  std::string reason;
};

}  // namespace dsaperf::serving
