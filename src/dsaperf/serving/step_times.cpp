#include "dsaperf/serving/step_times.hpp"

#include "dsaperf/predict/stages/host_time.hpp"

#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kFewTokens = 16;  // the shortest prompts that every table has

}  // namespace

PrefillLaunches::PrefillLaunches(const PassModel& model, const HostCosts& host)
    // A pass without an answer there has none for its steps either, and says why then.
    : attention_ms_(model.context_attention_ms(1, kFewTokens, 0).value_or(0)),
      all_ms_(attention_ms_ + host.launch_us / 1000 * model.inputs().shape.layers) {
}

double PrefillLaunches::step_ms(double attention_ms, double rest_ms) const {
  const double kernels = rest_ms + predict::stages::without_host_time(attention_ms_, attention_ms);
  return predict::stages::with_host_time(all_ms_, kernels);
}

Result<double> WorkerSteps::mixed_ms(std::span<const Chunk> chunks, double decoding,
                                     double total) const {
  const double draft = 1 + model_.inputs().draft_tokens;
  double fresh = 0;
  double past = 0;
  for (const Chunk& chunk : chunks) {
    fresh += chunk.new_tokens;
    past += chunk.past;
  }
  const auto n = static_cast<double>(chunks.size());
  DSAPERF_TRY_ASSIGN(double rest, model_.rest_ms(fresh + decoding * draft, n + decoding * draft));
  DSAPERF_TRY_ASSIGN(const double prefill,
                     model_.context_attention_ms(n, std::ceil(fresh / n), std::round(past / n)));
  if (decoding > 0) {
    DSAPERF_TRY_ASSIGN(const double decode,
                       model_.generation_attention_ms(decoding * draft, std::round(total) + 1));
    rest += decode;
  }
  return launches_.step_ms(prefill, rest);
}

Result<double> WorkerSteps::decode_ms(double decoding, double total) const {
  const double tokens = decoding * (1 + model_.inputs().draft_tokens);
  DSAPERF_TRY_ASSIGN(const double rest, model_.decode_rest_ms(tokens));
  DSAPERF_TRY_ASSIGN(const double attention,
                     model_.generation_attention_ms(tokens, std::round(total) + 1));
  return rest + attention + host_.graph_gap_us / 1000 * model_.inputs().shape.layers;
}

}  // namespace dsaperf::serving
