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

std::optional<Choice> choose(std::span<const Timing* const> of_shape) {
  const auto usual = std::ranges::find_if(
      of_shape, [](const Timing* each) { return each->variant == Variant::kDefault; });
  if (usual == of_shape.end()) return std::nullopt;
  const Timing& standard = **usual;
  std::optional<Choice> best;
  double lowest = 1;
  for (const Timing* each : of_shape) {
    if (each->variant == Variant::kDefault || !each->right) continue;
    const double noise = std::max({each->spread, standard.spread, kLeastNoise});
    const double cold = each->cold / standard.cold;
    const double warm = each->warm / standard.warm;
    const double mean = std::sqrt(cold * warm);
    if (cold > 1 + noise || warm > 1 + noise || mean > 1 - noise || mean >= lowest) continue;
    // A table entry says what it saves in the warm time: one that saves cold time alone stays out.
    if (each->warm.value >= standard.warm.value) continue;
    lowest = mean;
    best = Choice{each->variant, each->warm, standard.warm};
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
  std::map<std::tuple<Family, std::int64_t, std::int64_t>, std::vector<const Timing*>> by_shape;
  for (const Timing& timing : timings) {
    const TunedShape& shape = timing.shape;
    Measured& of_family = measured[family_of(shape)];
    of_family.columns.insert(shape.columns);
    of_family.rows[shape.columns].insert(shape.rows);
    by_shape[{family_of(shape), shape.columns, shape.rows}].push_back(&timing);
  }
  kernels::TuningTable table{
      .device = card.device, .sm_count = card.sm_count, .commit = commit, .entries = {}};
  for (const auto& [key, of_shape] : by_shape) {
    const auto choice = choose(of_shape);
    if (!choice) continue;
    const TunedShape& shape = of_shape.front()->shape;
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
