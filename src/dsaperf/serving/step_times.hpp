#pragma once

#include "dsaperf/serving/host_costs.hpp"
#include "dsaperf/serving/pass_model.hpp"
#include "dsaperf/serving/simulation.hpp"

namespace dsaperf::serving {

// A step with prefill waits for the host that launches its kernels one by one, or for the kernels,
// whichever takes longer. Tables of attention were measured so as well: what their rows of few
// tokens take is the host's time, taken out where the kernels alone are asked for, and known for
// the host of each card.
class PrefillLaunches {
 public:
  PrefillLaunches(const PassModel& model, const HostCosts& host);
  // `attention_ms`: of the tables; `rest_ms`: kernels beside it.
  double step_ms(double attention_ms, double rest_ms) const;

 private:
  double attention_ms_ = 0;  // to launch the attention of all layers
  double all_ms_ = 0;        // and everything else
};

// Steps of a worker, priced by its passes. Requests of a step are priced at their mean lengths.
class WorkerSteps final : public StepTimes {
 public:
  WorkerSteps(const PassModel& model, HostCosts host)
      : model_(model), host_(host), launches_(model, host) {}
  Result<double> mixed_ms(std::span<const Chunk> chunks, double decoding,
                          double total) const override;
  Result<double> decode_ms(double decoding, double total) const override;

 private:
  const PassModel& model_;
  HostCosts host_;
  PrefillLaunches launches_;
};

}  // namespace dsaperf::serving
