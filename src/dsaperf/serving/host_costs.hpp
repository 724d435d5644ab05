#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/deployment.hpp"

#include <string>
#include <string_view>

namespace dsaperf::serving {

// What an engine's host adds to the kernels that tables hold: the only constants that were fitted
// to served models (docs/serving.md: to which, and how far they carry to others).
struct HostCosts {
  double graph_gap_us = 0;  // a layer of a decode step in a CUDA graph: gaps between its kernels
  double launch_us = 0;     // to launch a layer's kernels beside attention, in a step with prefill
  double request_ms = 0;    // a request's way in and its first token's way out
  double text_us = 0;       // a token of a prompt through HTTP and the tokenizer
  // Kernels of a step with prefill take so many times what the tables say: an older engine's, and
  // SGLang's with NVFP4 experts.
  double prefill_factor = 1;
};
// Releases before those that the tables were measured with.
enum class EngineAge { kOfTables, kOlder };
// What of a deployment its host's constants depend on, beside the engine.
struct HostedOn {
  std::string_view system;
  std::string_view experts = {};  // their format
  EngineAge age = EngineAge::kOfTables;
};

// Of data/serving/host.csv: the row that says most of what is asked, of its age, its experts and
// its system, in this order. Where that is none of the system's own, launches and requests take as
// many times as long as launches on that system's host do (host_launch in data/systems). Fails
// where a file is missing or damaged.
Result<HostCosts> host_costs(Engine engine, const HostedOn& on);

// Changes by name: "launch_us=900,request_ms=60". Fails on a name that is not one of the above, and
// on what is no number.
Result<HostCosts> with_changes(HostCosts costs, std::string_view changes);

// All of them, in that form.
std::string text(const HostCosts& costs);

// Time of a request outside the engine's steps, in front of its first token: it delays the request
// and not the GPU.
double host_delay_ms(const HostCosts& costs, double prompt_tokens);

}  // namespace dsaperf::serving
