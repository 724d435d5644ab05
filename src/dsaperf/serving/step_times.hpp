#pragma once

#include "dsaperf/serving/pass_model.hpp"
#include "dsaperf/serving/simulation.hpp"

namespace dsaperf::serving {

// What an engine's host adds to the kernels that tables hold. These are the only constants that
// were fitted to served models (docs/serving.md: to which, and what is left).
struct HostCosts {
  double graph_gap_us_per_layer = 0;  // decode, in a CUDA graph: between kernels, a layer
  double eager_ms_per_layer =
      0;                  // a step with prefill, launched from Python: beyond its kernels, a layer
  double request_ms = 0;  // a request's way in and its first token's way out
  double text_us_per_token = 0;  // a prompt through HTTP and the tokenizer
  double stream_us_per_token =
      0;  // the same again for each answer that streams through that process
};
HostCosts host_costs(Engine engine);

// Time of a request outside the engine's steps, in front of its first token. It delays the request,
// not the GPU.
double host_delay_ms(const HostCosts& host, double prompt_tokens, double streams);

// Steps of a worker, priced by its passes. Requests of a step are priced at their mean lengths.
class WorkerSteps final : public StepTimes {
 public:
  WorkerSteps(const PassModel& model, HostCosts host) : model_(model), host_(host) {}
  Result<double> mixed_ms(std::span<const Chunk> chunks, double decoding,
                          double total) const override;
  Result<double> decode_ms(double decoding, double total) const override;

 private:
  const PassModel& model_;
  HostCosts host_;
};

}  // namespace dsaperf::serving
