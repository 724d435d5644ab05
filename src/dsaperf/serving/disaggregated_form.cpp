#include "dsaperf/serving/disaggregated_form.hpp"

#include <algorithm>

namespace dsaperf::serving {
namespace {

void stretch(PassTime& pass, double factor) {
  pass.ms *= factor;
  pass.attention_ms *= factor;
  for (LineTime& line : pass.lines) line.time.ms *= factor;
}

// Times of a static batch whose passes take `factor` as long.
void stretch(ClosedForm& form, double factor) {
  stretch(form.context, factor);
  stretch(form.generation, factor);
  form.ttft_ms *= factor;
  form.tpot_ms *= factor;
  form.request_ms *= factor;
  form.request_s /= factor;
  form.output_tok_s /= factor;
}

}  // namespace

Margins Margins::of(const Quirks& quirks) {
  if (!quirks.has(Quirk::kDisaggregatedMargins)) return {};
  return {
      .prefill = 1.1, .decode = 1.08, .first_token = 1.8, .prefill_rate = 0.9, .decode_rate = 0.92};
}

Result<ClosedForm> static_worker(const FormWorkers& workers, const perfdb::SystemFile& system,
                                 const std::string& version, const Workload& work,
                                 StaticPhase phase) {
  DSAPERF_TRY_ASSIGN(auto form, static_batch(workers.model, system, version, work, workers.batch,
                                             phase, workers.options));
  const auto margins = Margins::of(workers.model.inputs().quirks);
  stretch(form, phase == StaticPhase::kContext ? margins.prefill : margins.decode);
  return form;
}

double worker_rate(const ClosedForm& worker, double tokens_a_step, const Quirks& quirks) {
  return quirks.has(Quirk::kRoundedWorkerRates)
             ? three_decimals(three_decimals(worker.request_s / tokens_a_step) * tokens_a_step)
             : worker.request_s;
}

ClosedForm joined(const FormPair& pair, const Workload& work, double transfer_ms,
                  const Quirks& quirks) {
  const auto margins = Margins::of(quirks);
  ClosedForm all;
  all.context = pair.prefill.context;
  all.generation = pair.decode.generation;
  all.memory = pair.decode.memory;
  all.fit = pair.prefill.fit != Fit::kFits ? pair.prefill.fit : pair.decode.fit;
  all.ttft_ms = pair.prefill.ttft_ms * margins.first_token +
                (quirks.has(Quirk::kTransferFree) ? 0 : transfer_ms);
  all.tpot_ms = pair.decode.tpot_ms;
  all.request_ms = all.ttft_ms + all.tpot_ms * std::max(work.osl - 1, 0.0);
  all.request_s =
      std::min(worker_rate(pair.prefill, 1, quirks) * pair.prefill_count * margins.prefill_rate,
               worker_rate(pair.decode, pair.decode_tokens_a_step, quirks) * pair.decode_count *
                   margins.decode_rate);
  all.output_tok_s = all.request_s * work.osl;
  all.concurrency = pair.decode.concurrency * pair.decode_count;
  return all;
}

Result<DisaggregatedForm> disaggregated_form(const FormWorkers& prefill, const FormWorkers& decode,
                                             const perfdb::SystemFile& system,
                                             const std::string& version, const Workload& work,
                                             double transfer_ms) {
  DisaggregatedForm form;
  DSAPERF_TRY_ASSIGN(form.prefill,
                     static_worker(prefill, system, version, work, StaticPhase::kContext));
  DSAPERF_TRY_ASSIGN(form.decode,
                     static_worker(decode, system, version, work, StaticPhase::kGeneration));
  form.all = joined({.prefill = form.prefill,
                     .prefill_count = prefill.count,
                     .decode = form.decode,
                     .decode_count = decode.count,
                     .decode_tokens_a_step = decode.options.tokens_a_step},
                    work, transfer_ms, prefill.model.inputs().quirks);
  return form;
}

}  // namespace dsaperf::serving
