#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/closed_form.hpp"

#include <string>

namespace dsaperf::serving {

// Workers of one kind, each with `batch` requests an attention rank.
struct FormWorkers {
  const PassModel& model;
  int count = 1;
  double batch = 1;
  EngineOptions options;
};

// Workers for prefill and workers for decode as aiconfigurator 0.12 estimates them: each kind a
// static batch of one phase, and the requests a second of the slower kind count.
struct DisaggregatedForm {
  ClosedForm all;              // of the deployment; passes of both, memory of a decode worker
  ClosedForm prefill, decode;  // of one worker
};

// `transfer_ms`: of a prompt's cache, which counts where Quirk::kTransferFree is off.
Result<DisaggregatedForm> disaggregated_form(const FormWorkers& prefill, const FormWorkers& decode,
                                             const perfdb::SystemFile& system,
                                             const std::string& version, const Workload& work,
                                             double transfer_ms);

}  // namespace dsaperf::serving
