#include "dsaperf/bench/tune.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

namespace dsaperf::bench {
namespace {

using kernels::TunedShape;
using kernels::Variant;

constexpr double kLeastNoise = 0.01;

// Shapes that differ in their sizes alone.
using Family = std::tuple<kernels::TunedKernel, bool, int, int>;

Family family_of(const TunedShape& shape) {
  return {shape.kernel, shape.fp8, shape.heads, shape.q_len};
}

struct Range {
  std::int64_t from, to;
};

// What `value`, one of the measured ones, speaks for. `steady`: beyond the largest measured nothing
// changes but how often it is repeated.
Range range_around(std::int64_t value, const std::set<std::int64_t>& measured, bool steady) {
  constexpr std::int64_t kSmall = 8;
  constexpr std::int64_t kEndless = std::int64_t{1} << 30;
  const auto halfway = [](std::int64_t low, std::int64_t high) {
    return static_cast<std::int64_t>(
        std::sqrt(static_cast<double>(low) * static_cast<double>(high)));
  };
  const auto at = measured.find(value);
  Range range{};
  if (at == measured.begin()) {
    range.from = value <= kSmall ? 1 : value / 2 + 1;
  } else {
    range.from = halfway(*std::prev(at), value) + 1;
  }
  if (std::next(at) != measured.end()) {
    range.to = halfway(value, *std::next(at));
  } else {
    range.to = steady ? kEndless : 2 * value;
  }
  return range;
}

struct Choice {
  Variant variant;
  Micros warm, default_warm;
};

// How a variant did beside the default on some values.
struct Ratios {
  double cold, warm, noise;
};

// Timings of one shape by variant, one for each kind of values.
using ByVariant = std::map<Variant, std::vector<const Timing*>>;

// Of each of the default's timings; none where one is missing, wrong, or slower.
std::vector<Ratios> ratios_where_never_worse(std::span<const Timing* const> variant,
                                             std::span<const Timing* const> standard) {
  std::vector<Ratios> all;
  for (const Timing* usual : standard) {
    const auto at = std::ranges::find(variant, usual->values, &Timing::values);
    if (at == variant.end() || !(*at)->right) return {};
    const Ratios ratios{.cold = (*at)->cold / usual->cold,
                        .warm = (*at)->warm / usual->warm,
                        .noise = std::max({(*at)->spread, usual->spread, kLeastNoise})};
    if (std::max(ratios.cold, ratios.warm) > 1 + ratios.noise) return {};
    all.push_back(ratios);
  }
  return all;
}

std::optional<Choice> choose(const ByVariant& of_shape) {
  const auto usual = of_shape.find(Variant::kDefault);
  if (usual == of_shape.end()) return std::nullopt;
  const Timing& standard = *usual->second.front();
  std::optional<Choice> best;
  double lowest = 1;
  for (const auto& [variant, timings] : of_shape) {
    if (variant == Variant::kDefault) continue;
    const auto ratios = ratios_where_never_worse(timings, usual->second);
    if (ratios.empty()) continue;
    double logs = 0, noise = 0;
    for (const Ratios& each : ratios) {
      logs += std::log(each.cold * each.warm);
      noise = std::max(noise, each.noise);
    }
    const double mean = std::exp(logs / (2 * static_cast<double>(ratios.size())));
    if (mean > 1 - noise || mean >= lowest) continue;
    // A table entry says what it saves in the warm time: one that saves cold time alone stays out.
    const Timing& first = *timings.front();
    if (first.warm.value >= standard.warm.value) continue;
    lowest = mean;
    best = Choice{variant, first.warm, standard.warm};
  }
  return best;
}

}  // namespace

kernels::TuningTable make_table(const Card& card, const std::string& commit,
                                std::span<const Timing> timings) {
  struct Measured {
    std::set<std::int64_t> columns;
    std::map<std::int64_t, std::set<std::int64_t>> rows;  // by columns
  };
  std::map<Family, Measured> measured;
  std::map<std::tuple<Family, std::int64_t, std::int64_t>, ByVariant> by_shape;
  for (const Timing& timing : timings) {
    const TunedShape& shape = timing.shape;
    Measured& of_family = measured[family_of(shape)];
    of_family.columns.insert(shape.columns);
    of_family.rows[shape.columns].insert(shape.rows);
    by_shape[{family_of(shape), shape.columns, shape.rows}][timing.variant].push_back(&timing);
  }
  kernels::TuningTable table{
      .device = card.device, .sm_count = card.sm_count, .commit = commit, .entries = {}};
  for (const auto& [key, of_shape] : by_shape) {
    const auto choice = choose(of_shape);
    if (!choice) continue;
    const TunedShape& shape = of_shape.begin()->second.front()->shape;
    const Measured& of_family = measured.at(std::get<0>(key));
    // Attention's CTAs walk over their tokens, and the largest measured number keeps all at work.
    const bool walks = shape.kernel == kernels::TunedKernel::kSparsePrefill;
    const Range rows = range_around(shape.rows, of_family.rows.at(shape.columns), walks);
    const Range columns = range_around(shape.columns, of_family.columns, false);
    table.entries.push_back({.kernel = shape.kernel,
                             .fp8 = shape.fp8,
                             .heads = shape.heads,
                             .q_len = shape.q_len,
                             .rows_from = rows.from,
                             .rows_to = rows.to,
                             .columns_from = columns.from,
                             .columns_to = columns.to,
                             .variant = choice->variant,
                             .variant_us = choice->warm.value,
                             .default_us = choice->default_warm.value});
  }
  return table;
}

}  // namespace dsaperf::bench
