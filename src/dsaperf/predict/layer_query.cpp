#include "dsaperf/predict/layer_query.hpp"

#include "dsaperf/core/fail.hpp"
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

Result<void> check_shape(const LayerShape& shape) {
  const auto is_size = [](std::int64_t value, std::int64_t least) {
    return value >= least && value <= kLargestSize;
  };
  const bool are_sizes = is_size(shape.heads, 1) && is_size(shape.batch, 1) &&
                         is_size(shape.new_tokens, 1) && is_size(shape.past_tokens, 0) &&
                         is_size(shape.context_parallel, 1);
  if (!are_sizes) {
    return fail(
        Errc::kInvalidArgument,
        "sizes are from 1 to {} (past: from 0): heads {}, batch {}, new {}, past {}, ranks {}",
        kLargestSize, shape.heads, shape.batch, shape.new_tokens, shape.past_tokens,
        shape.context_parallel);
  }
  const bool is_share = shape.full_layer_share >= 0 && shape.full_layer_share <= 1;  // NaN is none
  if (!is_share) {
    return fail(Errc::kInvalidArgument, "share of full layers {} is not between 0 and 1",
                shape.full_layer_share);
  }
  return {};
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

bool has_known_sizes(std::string_view architecture) {
  return compatible::has_dsa_dims(architecture);
}

}  // namespace dsaperf::predict
