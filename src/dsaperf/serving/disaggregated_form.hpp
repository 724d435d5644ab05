#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/serving/closed_form.hpp"

#include <string>

namespace dsaperf::serving {

// What aiconfigurator multiplies disaggregated workers by: passes take so much longer than their
// operators, a first token waits so many prefills, and so much of each kind's requests a second is
// reached together.
struct Margins {
  double prefill = 1, decode = 1;
  double first_token = 1;
  double prefill_rate = 1, decode_rate = 1;

  static Margins of(const Quirks& quirks);  // all 1 where Quirk::kDisaggregatedMargins is off
};

// Workers of one kind, each with `batch` requests an attention rank.
struct FormWorkers {
  const PassModel& model;
  int count = 1;
  double batch = 1;
  EngineOptions options;
};

// One worker for one phase as aiconfigurator 0.12 estimates it: a static batch, margin included.
// `phase` is kContext or kGeneration.
Result<ClosedForm> static_worker(const FormWorkers& workers, const perfdb::SystemFile& system,
                                 const std::string& version, const Workload& work,
                                 StaticPhase phase);
// Its requests a second as they are used: rounded before draft tokens multiply them and after,
// where Quirk::kRoundedWorkerRates is on.
double worker_rate(const ClosedForm& worker, double tokens_a_step, const Quirks& quirks);

// `prefill_count` and `decode_count` such workers together: the requests a second of the slower
// kind count. Passes of both, memory of a decode worker. `transfer_ms`: of a prompt's cache, which
// counts where Quirk::kTransferFree is off.
struct FormPair {
  const ClosedForm& prefill;
  int prefill_count = 1;
  const ClosedForm& decode;
  int decode_count = 1;
  double decode_tokens_a_step = 1;
};
ClosedForm joined(const FormPair& pair, const Workload& work, double transfer_ms,
                  const Quirks& quirks);

// Workers for prefill and workers for decode.
struct DisaggregatedForm {
  ClosedForm all;              // of the deployment
  ClosedForm prefill, decode;  // of one worker
};
Result<DisaggregatedForm> disaggregated_form(const FormWorkers& prefill, const FormWorkers& decode,
                                             const perfdb::SystemFile& system,
                                             const std::string& version, const Workload& work,
                                             double transfer_ms);

}  // namespace dsaperf::serving
