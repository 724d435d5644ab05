#include "dsaperf/predict/layer_query.hpp"

#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include <algorithm>
#include <utility>

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

void Warnings::add(std::string text) {
  const auto known = all();
  if (std::find(known.begin(), known.end(), text) != known.end()) return;
  std::vector<std::string> more(known.begin(), known.end());
  more.push_back(std::move(text));
  texts_ = std::make_shared<const std::vector<std::string>>(std::move(more));
}

void Warnings::add(const Warnings& others) {
  if (empty())
    texts_ = others.texts_;
  else if (texts_ != others.texts_)
    for (const auto& text : others) add(text);
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
