#pragma once

#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <chrono>
#include <memory>
#include <string>

namespace dsaperf::collect {

// Times from the lower bound and a hash of the case's id: the same case gives nearly the same time,
// with no GPU. Tests and the trial of a plan or of a cluster set-up use it; its rows say device
// "fake", so that no table can pass them off as measured.
class FakeSource : public TimingSource {
 public:
  struct Options {
    std::chrono::milliseconds delay{0};  // what a measurement would take
    // Cases whose id contains this text fail (or end the process), as a broken kernel would.
    std::string fails_on = {};
    std::string dies_on = {};
    // Every n-th measurement is reported as throttled; 0: none.
    int throttled_every = 0;
    // So many measurements from the first on report the power cap.
    int capped_first = 0;
  };

  FakeSource(model::LayerPlan layer, cost::SystemSpec system, Options options);

  const SourceInfo& info() const override { return info_; }
  Result<Measurement> measure(const Case& what) override;

 private:
  model::LayerPlan layer_;
  cost::SystemSpec system_;
  Options options_;
  SourceInfo info_;
  int measured_ = 0;
};

}  // namespace dsaperf::collect
