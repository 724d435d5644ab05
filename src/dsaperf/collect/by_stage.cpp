#include "dsaperf/collect/by_stage.hpp"

#include "dsaperf/collect/plan.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/stage_cost.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <random>
#include <utility>

namespace dsaperf::collect {
namespace {

using model::Stage;

// Of fewer the tenth and the ninetieth percentile are not among them.
constexpr std::size_t kEnoughChecks = 10;

// What a stage sees of a case beside its sizes.
struct Sees {
  bool requests = false;  // each request's new and past tokens; else only how many tokens in all
  bool heads = false;
  bool kv = false;
  bool gemm = false;
  bool role = false;
  bool scores = false;
};

Sees seen_by(Stage stage) {
  switch (stage) {
    case Stage::kQkvAProjection:  // one GEMM with W_ik and W_w where the layer has an indexer
      return {.gemm = true, .role = true};
    case Stage::kQBProjection:
    case Stage::kOProjection:
      return {.heads = true, .gemm = true};
    case Stage::kAbsorb:  // in dense prefill also of cached rows
    case Stage::kVUp:
      return {.requests = true, .heads = true, .gemm = true};
    case Stage::kCacheWrite:
      return {.kv = true};
    case Stage::kIndexerProjection:
      return {.gemm = true};
    case Stage::kNormRope:
    case Stage::kIndexerQuantise:
    case Stage::kIndexCacheWrite:
      return {};
    case Stage::kIndexerScores:
      return {.requests = true};
    case Stage::kTopk:
      return {.requests = true, .scores = true};
    case Stage::kAttention:  // whoever made the selection, it gathers as many rows
      return {.requests = true, .heads = true, .kv = true};
  }
  return {true, true, true, true, true, true};
}

Result<cost::LayerCost> cost_of(const Case& whole, const model::LayerPlan& layer) {
  return cost::layer_cost(layer_of(whole, layer), whole.shape());
}

std::string key_of(const Case& whole, Stage stage, const cost::Work& work) {
  auto sees = seen_by(stage);
  // Absorbed queries and outputs are products over the new tokens alone.
  const bool expanded = whole.phase == perfdb::Phase::kContext && work.any_dense();
  if ((stage == Stage::kAbsorb || stage == Stage::kVUp) && !expanded) sees.requests = false;
  std::string key(model::name(stage));
  key += sees.requests ? '/' + whole.shape_text()
                       : fmt::format("/{}t{}s", whole.new_tokens(), work.selecting_tokens);
  if (sees.heads) key += fmt::format("/h{}", whole.heads);
  if (sees.kv) key += fmt::format("/kv_{}", model::name(whole.kv));
  if (sees.gemm) key += fmt::format("/gemm_{}", model::name(whole.gemm));
  if (sees.role) key += fmt::format("/{}", model::name(whole.role));
  if (sees.scores) key += fmt::format("/{}", name(whole.scores));
  return key;
}

// Of values and weights: where half of the weight lies below. Zero of none.
double weighted_median(std::vector<std::pair<double, double>> values) {
  std::ranges::sort(values);
  double weight = 0;
  for (const auto& each : values) weight += each.second;
  double below = 0;
  for (const auto& [value, own] : values) {
    below += own;
    if (2 * below >= weight) return value;
  }
  return 0;
}

// As log(p10 / 1) and log(p90 / 1) of what `off` are: SumChecks::errors. At least one is given.
SumError error_of(std::vector<double> off) {
  std::ranges::sort(off);
  if (off.size() < kEnoughChecks) {
    const double farthest = std::max(-off.front(), off.back());
    return {.below = farthest, .above = farthest};
  }
  // Between two of them the one farther out.
  const double last = static_cast<double>(off.size()) - 1;
  const auto low = static_cast<std::size_t>(std::floor(0.1 * last));
  const auto high = static_cast<std::size_t>(std::ceil(0.9 * last));
  return {.below = std::max(0.0, -off[low]), .above = std::max(0.0, off[high])};
}

// How far the samples of a layer's stages lie below and above their medians.
class SampleSpread {
 public:
  // `time` of a stage that was measured in the case `id`.
  void add(const std::string& id, Micros time, const Summary& samples) {
    if (samples.median.value <= 0) return;
    auto& [below, above] = by_case_[id];
    below += time * (1 - samples.p10 / samples.median);
    above += time * (samples.p90 / samples.median - 1);
  }

  // Sets p10 and p90 around the median.
  void widen(Summary& sum, const SumError& error) const {
    double below = error.below * error.below;
    double above = error.above * error.above;
    for (const auto& [id, own] : by_case_) {
      below += std::pow(own.first / sum.median, 2);
      above += std::pow(own.second / sum.median, 2);
    }
    sum.p10 = sum.median * std::exp(-std::sqrt(below));
    sum.p90 = sum.median * std::exp(std::sqrt(above));
  }

 private:
  std::map<std::string, std::pair<Micros, Micros>> by_case_;
};

}  // namespace

std::string stage_key(const Case& whole, Stage stage, const model::LayerPlan& layer) {
  const auto cost = cost_of(whole, layer);
  return key_of(whole, stage, cost ? cost->work() : cost::Work{});
}

Result<StagePlan> plan_by_stage(std::span<const Case> cases, const model::LayerPlan& layer,
                                double check_share, std::uint64_t seed) {
  StagePlan plan;
  for (const auto& whole : cases) {
    if (whole.launch == Launch::kEager) {
      return fail(
          Errc::kInvalidArgument,
          "--by stage adds up what the GPU does: it can't make {}, whose time is the host's "
          "as well; measure eager launches with --by layer",
          whole.id());
    }
    DSAPERF_TRY_ASSIGN(const auto cost, cost_of(whole, layer));
    Case alone = whole;
    std::vector<std::string> keys;
    for (const auto& stage : cost.stages()) {
      auto key = key_of(whole, stage.stage, cost.work());
      if (plan.measured_by.contains(key)) continue;
      alone.stages.push_back(stage.stage);
      keys.push_back(std::move(key));
    }
    if (alone.stages.empty()) continue;
    const auto id = alone.id();
    for (auto& key : keys) plan.measured_by.emplace(std::move(key), id);
    plan.stage_cases.push_back(std::move(alone));
  }

  // In the order of the plan: cases that share a layer stay together.
  std::mt19937_64 random(seed);
  const auto wanted =
      static_cast<std::ptrdiff_t>(std::ceil(check_share * static_cast<double>(cases.size())));
  std::ranges::sample(cases, std::back_inserter(plan.checks), wanted, random);
  return plan;
}

SumChecks::SumChecks(const StagePlan& plan, const model::LayerPlan& layer,
                     const std::map<std::string, Entry>& entries) {
  std::vector<const Case*> measured;
  for (const auto& check : plan.checks) {
    const auto found = entries.find(check.id());
    if (found == entries.end() || found->second.composed || !found->second.error.empty()) continue;
    const auto sum = compose(check, plan, layer, entries, {});
    if (!sum || sum->stages.size() < 2) continue;
    const auto& whole = found->second.measurement;
    measured.push_back(&check);
    layers_.push_back({.id = found->first,
                       .phase = check.phase,
                       .boundaries = static_cast<double>(sum->stages.size()) - 1,
                       .whole_warm = whole.warm.median,
                       .sum_warm = sum->warm.median,
                       .whole_cold = whole.cold.median,
                       .sum_cold = sum->cold.median,
                       .off_warm = 0,
                       .off_cold = 0});
  }
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& each = layers_[i];
    const auto sum = *compose(*measured[i], plan, layer, entries, overlap_without(each.id));
    each.off_warm = std::log(each.whole_warm / sum.warm.median);
    each.off_cold = std::log(each.whole_cold / sum.cold.median);
  }
}

std::optional<SumErrors> SumChecks::errors(perfdb::Phase phase) const {
  if (layers_.empty()) return std::nullopt;
  const auto alike = [&](const Layer& each) { return each.phase == phase; };
  const bool enough =
      std::ranges::count_if(layers_, alike) >= static_cast<std::ptrdiff_t>(kEnoughChecks);
  std::vector<double> warm;
  std::vector<double> cold;
  for (const auto& each : layers_) {
    if (enough && !alike(each)) continue;
    warm.push_back(each.off_warm);
    cold.push_back(each.off_cold);
  }
  return SumErrors{.warm = error_of(std::move(warm)), .cold = error_of(std::move(cold))};
}

StageOverlap SumChecks::overlap_without(std::string_view id) const {
  // |sum - boundaries * overlap - whole| / whole, over the layers: least at a weighted median.
  std::vector<std::pair<double, double>> warm;
  std::vector<std::pair<double, double>> cold;
  for (const auto& each : layers_) {
    if (each.id == id) continue;
    warm.emplace_back((each.sum_warm - each.whole_warm).value / each.boundaries,
                      each.boundaries / each.whole_warm.value);
    cold.emplace_back((each.sum_cold - each.whole_cold).value / each.boundaries,
                      each.boundaries / each.whole_cold.value);
  }
  return {.warm = {weighted_median(std::move(warm))}, .cold = {weighted_median(std::move(cold))}};
}

Result<Measurement> compose(const Case& whole, const StagePlan& plan, const model::LayerPlan& layer,
                            const std::map<std::string, Entry>& entries,
                            const StageOverlap& overlap, const std::optional<SumErrors>& errors) {
  DSAPERF_TRY_ASSIGN(const auto cost, cost_of(whole, layer));
  Measurement sum;
  SampleSpread warm;
  SampleSpread cold;
  StageTime longest;
  for (const auto& stage : cost.stages()) {
    const auto by = plan.measured_by.find(key_of(whole, stage.stage, cost.work()));
    const auto found = by == plan.measured_by.end() ? entries.end() : entries.find(by->second);
    if (found == entries.end()) {
      return fail(Errc::kNotFound, "stage {} was not measured", model::name(stage.stage));
    }
    const auto& [id, entry] = *found;
    if (!entry.error.empty()) {
      return fail(Errc::kNotFound, "stage {} failed in {}: {}", model::name(stage.stage), id,
                  entry.error);
    }
    const auto& stages = entry.measurement.stages;
    const auto time = std::ranges::find(stages, stage.stage, &StageTime::stage);
    if (time == stages.end()) {
      return fail(Errc::kNotFound, "stage {} has no time in {}", model::name(stage.stage), id);
    }
    sum.stages.push_back(*time);
    sum.warm.median += time->time;
    sum.cold.median += time->cold;
    warm.add(id, time->time, entry.measurement.warm);
    cold.add(id, time->cold, entry.measurement.cold);
    longest.time = std::max(longest.time, time->time);
    longest.cold = std::max(longest.cold, time->cold);
    if (stage.stage == Stage::kAttention) {
      sum.card = entry.measurement.card;
      sum.kernel_source = entry.measurement.kernel_source;
    }
  }
  const auto boundaries = static_cast<double>(sum.stages.size()) - 1;
  sum.warm.median = std::max(longest.time, sum.warm.median - boundaries * overlap.warm);
  sum.cold.median = std::max(longest.cold, sum.cold.median - boundaries * overlap.cold);
  for (auto* summary : {&sum.warm, &sum.cold}) summary->p10 = summary->p90 = summary->median;
  if (errors) {
    warm.widen(sum.warm, errors->warm);
    cold.widen(sum.cold, errors->cold);
  }
  return sum;
}

}  // namespace dsaperf::collect
