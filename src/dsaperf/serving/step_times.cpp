#include "dsaperf/serving/step_times.hpp"

#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/serving/capacity.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kFewTokens = 16;  // the shortest prompts that every table has
// Of the peak in bf16: 640 of an H800's 989 TFLOP/s, as FlashMLA's README says of its sparse
// prefill.
constexpr double kSparsePrefillShare = 0.65;

// Rows of a selection that tokens of a prompt from `past` on lack, `fresh` of them.
double missing_rows(double past, double fresh, double topk) {
  const double first = std::min(past, topk);
  const double last = std::min(past + fresh, topk);
  return (last - first) * (topk - (first + last) / 2);
}

}  // namespace

Result<WholeSelections> whole_selections(const model::ModelSpec& spec,
                                         const PassModel::Inputs& inputs,
                                         const perfdb::SystemFile& system) {
  const auto& layer = model::typical_layer(spec);
  if (!layer.indexer || inputs.formats.kv != "bfloat16") return WholeSelections{};
  DSAPERF_TRY_ASSIGN(const double rate, system.rate("bfloat16"));
  const double heads = std::max(static_cast<double>(inputs.shape.heads) / inputs.layout.tp,
                                least_heads(system.sm_version));
  const double flops = 2 * heads * (2.0 * layer.geometry.kv_lora + layer.geometry.rope);
  return WholeSelections{
      .topk = static_cast<double>(layer.indexer->topk),
      .row_ms = inputs.shape.layers * flops / (kSparsePrefillShare * rate) * 1000};
}

PrefillLaunches::PrefillLaunches(const PassModel& model, const HostCosts& host)
    // A pass without an answer there has none for its steps either, and says why then.
    : attention_ms_(model.context_attention_ms(1, kFewTokens, 0).value_or(0)),
      all_ms_(attention_ms_ + host.launch_us / 1000 * model.inputs().shape.layers),
      factor_(host.prefill_factor) {
}

double PrefillLaunches::step_ms(double attention_ms, double rest_ms) const {
  const double kernels = rest_ms + predict::stages::without_host_time(attention_ms_, attention_ms);
  return predict::stages::with_host_time(all_ms_, factor_ * kernels);
}

// Of decode's attention: a whole selection takes what one of topk rows does.
double WorkerSteps::length_priced(double total) const {
  return std::max(std::round(total) + 1, whole_.topk);
}

Result<double> WorkerSteps::mixed_ms(std::span<const Chunk> chunks, double decoding,
                                     double total) const {
  const double draft = 1 + model_.inputs().draft_tokens;
  double fresh = 0;
  double past = 0;
  double missing = 0;
  for (const Chunk& chunk : chunks) {
    fresh += chunk.new_tokens;
    past += chunk.past;
    missing += missing_rows(chunk.past, chunk.new_tokens, whole_.topk);
  }
  const auto n = static_cast<double>(chunks.size());
  DSAPERF_TRY_ASSIGN(double rest, model_.rest_ms(fresh + decoding * draft, n + decoding * draft));
  DSAPERF_TRY_ASSIGN(const double prefill,
                     model_.context_attention_ms(n, std::ceil(fresh / n), std::round(past / n)));
  if (decoding > 0) {
    DSAPERF_TRY_ASSIGN(const double decode,
                       model_.generation_attention_ms(decoding * draft, length_priced(total)));
    rest += decode;
  }
  return launches_.step_ms(prefill, rest + missing * whole_.row_ms);
}

Result<double> WorkerSteps::decode_ms(double decoding, double total) const {
  const double tokens = decoding * (1 + model_.inputs().draft_tokens);
  DSAPERF_TRY_ASSIGN(const double rest, model_.decode_rest_ms(tokens));
  DSAPERF_TRY_ASSIGN(const double attention,
                     model_.generation_attention_ms(tokens, length_priced(total)));
  return rest + attention + host_.graph_gap_us / 1000 * model_.inputs().shape.layers;
}

}  // namespace dsaperf::serving
