#include "dsaperf/predict/what_if.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/core/split.hpp"
#include "dsaperf/perfdb/table_dtype.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

namespace dsaperf::predict {
namespace {

constexpr std::array<std::string_view, 7> kQueryAxes = {"heads", "batch",       "new", "past",
                                                        "topk",  "index_heads", "kv"};
constexpr std::size_t kMostValues = 64;

Result<void> apply(const Change& change, LayerKind& kind, LayerShape& shape) {
  if (change.axis == "kv") {
    kind.kv_dtype = perfdb::table_dtype(change.value);
    return {};
  }
  const auto value = parse_int(change.value);
  if (!value || *value < 0)
    return fail(Errc::kInvalidArgument, "{}: '{}' is no count", change.axis, change.value);
  const std::map<std::string_view, std::int64_t LayerShape::*> fields = {
      {"heads", &LayerShape::heads},    {"batch", &LayerShape::batch},
      {"new", &LayerShape::new_tokens}, {"past", &LayerShape::past_tokens},
      {"topk", &LayerShape::topk},      {"index_heads", &LayerShape::index_heads}};
  shape.*fields.at(change.axis) = *value;
  return {};
}

std::map<std::string, double> times_of(const stages::Explanation& explanation) {
  std::map<std::string, double> times;
  for (const auto& share : explanation.stages) times[share.stage] = share.time.value;
  return times;
}

}  // namespace

Result<std::vector<Change>> parse_changes(std::string_view text) {
  std::vector<Change> changes;
  for (const auto part : split(text, ',')) {
    const auto equals = part.find('=');
    const auto axis = part.substr(0, equals);
    if (equals == std::string_view::npos ||
        std::find(kQueryAxes.begin(), kQueryAxes.end(), axis) == kQueryAxes.end()) {
      return fail(Errc::kInvalidArgument, "'{}': due AXIS=VALUES, axis one of {}", part,
                  fmt::join(kQueryAxes, ", "));
    }
    for (const auto value : split(part.substr(equals + 1), '|')) {
      const auto dots = value.find("..");
      if (dots == std::string_view::npos) {
        if (axis != "kv" && !parse_int(value))
          return fail(Errc::kInvalidArgument, "'{}': '{}' is no count", part, value);
        changes.push_back({.axis = std::string(axis), .value = std::string(value)});
        continue;
      }
      const auto low = parse_int(value.substr(0, dots));
      const auto high = parse_int(value.substr(dots + 2));
      if (!low || !high || *low < 1 || *high < *low || axis == "kv") {
        return fail(Errc::kInvalidArgument, "'{}': a range is LOW..HIGH, from 1 up", part);
      }
      for (auto v = *low; v < *high && changes.size() < kMostValues; v *= 2) {
        changes.push_back({.axis = std::string(axis), .value = std::to_string(v)});
      }
      changes.push_back({.axis = std::string(axis), .value = std::to_string(*high)});
    }
  }
  return changes;
}

Result<std::vector<Variation>> vary(LayerPredictor& predictor, const Tables& tables,
                                    const LayerKind& kind, const LayerShape& shape,
                                    const std::vector<Change>& changes) {
  DSAPERF_TRY_ASSIGN(const auto base, predictor.explain(tables, kind, shape));
  const auto before = times_of(base);
  std::vector<Variation> out;
  for (const auto& change : changes) {
    auto& variation = out.emplace_back();
    variation.change = change;
    auto other_kind = kind;
    auto other_shape = shape;
    DSAPERF_TRY(apply(change, other_kind, other_shape));
    const auto latency = predictor.at(tables, other_kind, other_shape);
    const auto explanation = predictor.explain(tables, other_kind, other_shape);
    if (!latency || !explanation) {
      variation.error = (latency ? explanation.error() : latency.error()).message();
      continue;
    }
    variation.latency = *latency;
    auto after = times_of(*explanation);
    for (const auto& [stage, time] : before) after[stage] -= time;
    for (const auto& [stage, difference] : after) {
      if (std::abs(difference) <= std::abs(variation.payer_change.value)) continue;
      variation.payer = stage;
      variation.payer_change = {difference};
    }
  }
  return out;
}

}  // namespace dsaperf::predict
