#include "dsaperf/predict/layer_query.hpp"

#include "dsaperf/predict/compatible/dsa_bound.hpp"

namespace dsaperf::predict {

std::string_view name(Source source) {
  switch (source) {
    case Source::kMeasured:
      return "measured";
    case Source::kInterpolated:
      return "interpolated";
    case Source::kExtrapolated:
      return "extrapolated";
    case Source::kModelled:
      return "modelled";
    case Source::kBound:
      break;
  }
  return "bound";
}

LayerSizes known_sizes(std::string_view architecture) {
  const auto& known = compatible::dsa_dims(architecture);
  return {.hidden = known.hidden,
          .q_lora = known.q_lora,
          .kv_lora = known.kv_lora,
          .nope = known.nope,
          .rope = known.rope,
          .v = known.v,
          .topk = known.topk,
          .index_dim = known.index_dim,
          .index_heads = known.index_heads};
}

}  // namespace dsaperf::predict
