#pragma once

#include "dsaperf/serving/host_costs.hpp"
#include "dsaperf/serving/pass_model.hpp"
#include "dsaperf/serving/simulation.hpp"

namespace dsaperf::serving {

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
