#include "dsaperf/serving/step_times.hpp"

#include <cmath>

namespace dsaperf::serving {

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
  return ms + host_.launch_us / 1000 * model_.inputs().shape.layers;
}

Result<double> WorkerSteps::decode_ms(double decoding, double total) const {
  const double tokens = decoding * (1 + model_.inputs().draft_tokens);
  DSAPERF_TRY_ASSIGN(const double rest, model_.decode_rest_ms(tokens));
  DSAPERF_TRY_ASSIGN(const double attention,
                     model_.generation_attention_ms(tokens, std::round(total) + 1));
  return rest + attention + host_.graph_gap_us / 1000 * model_.inputs().shape.layers;
}

}  // namespace dsaperf::serving
