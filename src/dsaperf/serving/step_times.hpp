#pragma once

#include "dsaperf/serving/pass_model.hpp"
#include "dsaperf/serving/simulation.hpp"

namespace dsaperf::serving {

// What an engine's host and a real node add to the kernels that tables hold: the only constants of
// this model that were fitted (docs/serving.md: to what, and what is left).
struct HostCosts {
  double decode_step_ms = 0;   // scheduling, sampling and copies around a decode step
  double prefill_step_ms = 0;  // the same around a step with prefill, which no CUDA graph covers
  double kernel_share =
      1;  // time of a step's kernels in a served model, of the sum of the tables' rows
};
HostCosts host_costs(Engine engine);

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
