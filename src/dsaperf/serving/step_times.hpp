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
  // What the kernels of attention take of `attention_ms` of the tables.
  double kernels_ms(double attention_ms) const;
  // A step of kernels that take so long.
  double step_ms(double kernels_ms) const;
  // `attention_ms`: of the tables; `rest_ms`: kernels beside it.
  double step_ms(double attention_ms, double rest_ms) const {
    return step_ms(rest_ms + kernels_ms(attention_ms));
  }

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

// Steps of a worker, priced by its passes. Requests of a step and rank are priced at their mean
// lengths. All ranks wait for the one whose attention takes longest, and for the one with most
// tokens; the experts have the tokens of all.
class WorkerSteps final : public StepTimes {
 public:
  WorkerSteps(const PassModel& model, HostCosts host, WholeSelections whole = {})
      : model_(model), host_(host), whole_(whole), launches_(model, host) {}
  Result<double> step_ms(std::span<const RankLoad> ranks) const override;

 private:
  Result<double> mixed_ms(std::span<const RankLoad> ranks) const;
  Result<double> decode_ms(std::span<const RankLoad> ranks) const;
  // Kernels of attention of a rank's step that holds prefill, or runs beside one that does.
  Result<double> attention_ms(const RankLoad& rank) const;
  double draft_share() const { return 1 + model_.inputs().draft_tokens; }
  double length_priced(double total) const;

  const PassModel& model_;
  HostCosts host_;
  WholeSelections whole_;
  PrefillLaunches launches_;
};

}  // namespace dsaperf::serving
