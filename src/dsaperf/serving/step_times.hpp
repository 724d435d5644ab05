#pragma once

#include "dsaperf/model/model_spec.hpp"
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
  double factor_ = 1;        // of the kernels
};

// Attention that computes all `topk` rows of a token, those that a short context lacks too: its
// kernel is not told how many there are. Nothing by default.
struct WholeSelections {
  double topk = 0;
  double row_ms = 0;  // for a row of a token, in all layers
};
// Of FlashMLA's sparse prefill over a bf16 cache.
Result<WholeSelections> whole_selections(const model::ModelSpec& spec,
                                         const PassModel::Inputs& inputs,
                                         const perfdb::SystemFile& system);

// Steps of a worker, priced by its passes. Requests of a step are priced at their mean lengths.
class WorkerSteps final : public StepTimes {
 public:
  WorkerSteps(const PassModel& model, HostCosts host, WholeSelections whole = {})
      : model_(model), host_(host), whole_(whole), launches_(model, host) {}
  Result<double> mixed_ms(std::span<const Chunk> chunks, double decoding,
                          double total) const override;
  Result<double> decode_ms(double decoding, double total) const override;

 private:
  double length_priced(double total) const;

  const PassModel& model_;
  HostCosts host_;
  WholeSelections whole_;
  PrefillLaunches launches_;
};

}  // namespace dsaperf::serving
