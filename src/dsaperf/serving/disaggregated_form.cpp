#include "dsaperf/serving/disaggregated_form.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

// aiconfigurator's margins: passes take so much longer than their operators, a first token waits so
// many prefills, and so much of each kind's requests a second is reached together.
struct Margins {
  double prefill = 1.1, decode = 1.08;
  double first_token = 1.8;
  double prefill_rate = 0.9, decode_rate = 0.92;
};
constexpr Margins kNoMargins{
    .prefill = 1, .decode = 1, .first_token = 1, .prefill_rate = 1, .decode_rate = 1};

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

// As numpy does: draft tokens turn three decimals into four, and a half goes to the even one.
double rounded(double value) {
  return std::nearbyint(value * 1000) / 1000;
}

}  // namespace

Result<DisaggregatedForm> disaggregated_form(const FormWorkers& prefill, const FormWorkers& decode,
                                             const perfdb::SystemFile& system,
                                             const std::string& version, const Workload& work,
                                             double transfer_ms) {
  const Quirks& quirks = prefill.model.inputs().quirks;
  const Margins margins = quirks.has(Quirk::kDisaggregatedMargins) ? Margins() : kNoMargins;
  DisaggregatedForm form;
  DSAPERF_TRY_ASSIGN(form.prefill, static_batch(prefill.model, system, version, work, prefill.batch,
                                                StaticPhase::kContext, prefill.options));
  DSAPERF_TRY_ASSIGN(form.decode, static_batch(decode.model, system, version, work, decode.batch,
                                               StaticPhase::kGeneration, decode.options));
  stretch(form.prefill, margins.prefill);
  stretch(form.decode, margins.decode);

  // A worker's requests a second are rounded before draft tokens multiply them, and after.
  const auto rate = [&](const ClosedForm& worker, double tokens_a_step) {
    return quirks.has(Quirk::kRoundedWorkerRates)
               ? rounded(rounded(worker.request_s / tokens_a_step) * tokens_a_step)
               : worker.request_s;
  };
  auto& all = form.all;
  all.context = form.prefill.context;
  all.generation = form.decode.generation;
  all.memory = form.decode.memory;
  all.fit = form.prefill.fit != Fit::kFits ? form.prefill.fit : form.decode.fit;
  all.ttft_ms = form.prefill.ttft_ms * margins.first_token +
                (quirks.has(Quirk::kTransferFree) ? 0 : transfer_ms);
  all.tpot_ms = form.decode.tpot_ms;
  all.request_ms = all.ttft_ms + all.tpot_ms * std::max(work.osl - 1, 0.0);
  all.request_s = std::min(
      rate(form.prefill, 1) * prefill.count * margins.prefill_rate,
      rate(form.decode, decode.options.tokens_a_step) * decode.count * margins.decode_rate);
  all.output_tok_s = all.request_s * work.osl;
  all.concurrency = form.decode.concurrency * decode.count;
  return form;
}

}  // namespace dsaperf::serving
