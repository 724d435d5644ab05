#include "dsaperf/serving/step_times.hpp"

#include <cmath>

namespace dsaperf::serving {

HostCosts host_costs(Engine engine) {
  constexpr double kGapUs = 45;
  constexpr double kEagerMs = 0.5;
  switch (engine) {
    // One Python process takes requests, cuts them into tokens and streams every answer.
    case Engine::kSglang:
      return {.graph_gap_us_per_layer = kGapUs,
              .eager_ms_per_layer = kEagerMs,
              .request_ms = 45,
              .text_us_per_token = 28,
              .stream_us_per_token = 1.6};
    case Engine::kVllm:
    case Engine::kTrtllm:
      return {.graph_gap_us_per_layer = kGapUs,
              .eager_ms_per_layer = kEagerMs,
              .request_ms = 45,
              .text_us_per_token = 5,
              .stream_us_per_token = 0};
  }
  return {};
}

double host_delay_ms(const HostCosts& host, double prompt_tokens, double streams) {
  return host.request_ms +
         prompt_tokens * (host.text_us_per_token + host.stream_us_per_token * streams) / 1000;
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
  DSAPERF_TRY_ASSIGN(double ms, model_.rest_ms(fresh + decoding * draft, n + decoding * draft));
  DSAPERF_TRY_ASSIGN(const double prefill,
                     model_.context_attention_ms(n, std::ceil(fresh / n), std::round(past / n)));
  ms += prefill;
  if (decoding > 0) {
    DSAPERF_TRY_ASSIGN(const double decode,
                       model_.generation_attention_ms(decoding * draft, std::round(total) + 1));
    ms += decode;
  }
  return ms + host_.eager_ms_per_layer * model_.inputs().shape.layers;
}

Result<double> WorkerSteps::decode_ms(double decoding, double total) const {
  const double tokens = decoding * (1 + model_.inputs().draft_tokens);
  DSAPERF_TRY_ASSIGN(const double rest, model_.decode_rest_ms(tokens));
  DSAPERF_TRY_ASSIGN(const double attention,
                     model_.generation_attention_ms(tokens, std::round(total) + 1));
  return rest + attention + host_.graph_gap_us_per_layer / 1000 * model_.inputs().shape.layers;
}

}  // namespace dsaperf::serving
