#include "dsaperf/predict/stages/calibrate.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace dsaperf::predict::stages {
namespace {

constexpr std::size_t kPoints = 400;     // left out alone
constexpr std::size_t kSliceRows = 200;  // of the slices of one axis
constexpr std::size_t kEnough = 20;      // to measure a width
constexpr double kCovered = 0.9;         // of left-out rows, by their intervals
// Rows of one slice are missed together: widths that cover 90 % of the slices of two head
// counts cover 85 % of others (benchmarks/predict/coverage.py), so that they are measured at 92.
constexpr double kFewValues = 0.04;  // over the number of slices

struct Standardised {
  double variance = 0;  // relative, of the posterior
  double error = 0;     // in its standard deviations
};
using Errors = std::vector<Standardised>;
using RowNumbers = std::vector<std::size_t>;

// The width that a share of the errors is below: of n errors the share * (n + 1)th, so that the
// next one is covered with that chance (conformal prediction).
double width_of(std::span<Standardised> errors, double share) {
  const auto count = static_cast<double>(errors.size());
  const auto rank = std::min(count, std::ceil(share * (count + 1))) - 1;
  const auto at = errors.begin() + static_cast<std::ptrdiff_t>(rank);
  std::nth_element(errors.begin(), at, errors.end(),
                   [](const auto& a, const auto& b) { return a.error < b.error; });
  return at->error;
}

// The median variance of these, and their width.
Calibration::Knot knot_of(std::span<Standardised> errors) {
  const auto middle = errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2);
  std::nth_element(errors.begin(), middle, errors.end(),
                   [](const auto& a, const auto& b) { return a.variance < b.variance; });
  const double variance = std::max(middle->variance, 1e-9);
  return {.variance = variance, .width = width_of(errors, kCovered)};
}

// On which axes the table goes on beyond a value on both sides: a sparse part's smallest lengths
// have the dense rows on their other side, and a dense part's largest the sparse ones; so have
// batches where graphs end, and heads where another kernel takes over.
std::array<bool, kSizeAxes> has_both_sides(const Setting& s, const Sizes& z, const Extent& extent) {
  const auto& [low, high] = extent;
  const bool sparse = s.regime == Regime::kSparse;
  const auto inner = [](double v, double from, double to, bool goes_below, bool goes_beyond) {
    return from < to && (v > from || goes_below) && (v < to || goes_beyond);
  };
  return {inner(z.heads, low.heads, high.heads, s.fewer_heads, s.more_heads),
          inner(z.batch, low.batch, high.batch, s.batch_from > 1, std::isfinite(s.batch_to)),
          inner(z.new_tokens, low.new_tokens, high.new_tokens, sparse, !sparse),
          inner(z.past_tokens, low.past_tokens, high.past_tokens, sparse, !sparse)};
}

class Calibrator {
 public:
  Calibrator(const PartModel& part, LeftOutWeights& weights, std::uint64_t seed)
      : part_(part), weights_(weights), seed_(seed) {
    for (const auto& o : part.observations()) extent_.widen(o.sizes);
  }

  Calibration run() {
    const auto& setting = part_.setting();
    const auto edge = rows_where([&](const Sizes& z) { return at_edge(setting, z); });
    auto body = rows_where([&](const Sizes& z) { return !at_edge(setting, z); });
    if (body.size() < kEnough) body = rows_where([](const Sizes&) { return true; });
    Calibration calibration;
    calibration.body = widths(std::move(body), calibration.body);
    calibration.edge = edge.size() < kEnough ? calibration.body : widths(edge, calibration.body);
    return calibration;
  }

 private:
  const Sizes& sizes(std::size_t row) const { return part_.observations()[row].sizes; }
  Slice slice_of(std::size_t row, std::size_t axis) const {
    return {.axis = axis, .value = sizes(row).axes()[axis]};
  }

  // In random order.
  template <typename IsOne>
  RowNumbers rows_where(const IsOne& is_one) const {
    RowNumbers rows;
    for (std::size_t row = 0; row < part_.observations().size(); ++row) {
      if (is_one(sizes(row))) rows.push_back(row);
    }
    std::mt19937_64 random(seed_);
    std::shuffle(rows.begin(), rows.end(), random);
    return rows;
  }

  // By axis, of these rows those that lie within its values; rows of one slice follow each other.
  std::array<RowNumbers, kSizeAxes> slices_among(const RowNumbers& rows) const {
    std::array<RowNumbers, kSizeAxes> slices;
    for (const auto row : rows) {
      const auto both = has_both_sides(part_.setting(), sizes(row), extent_);
      for (std::size_t a = 0; a < kSizeAxes; ++a) {
        if (both[a] && slices[a].size() < kSliceRows) slices[a].push_back(row);
      }
    }
    for (std::size_t a = 0; a < kSizeAxes; ++a) {
      std::sort(slices[a].begin(), slices[a].end(), [&](std::size_t i, std::size_t j) {
        return std::tuple(slice_of(i, a), i) < std::tuple(slice_of(j, a), j);
      });
    }
    return slices;
  }

  // Measured on these rows, in random order; `otherwise` where they are too few.
  Calibration::Sort widths(RowNumbers rows, const Calibration::Sort& otherwise) {
    if (rows.size() < 2) return otherwise;
    Calibration::Sort sort;
    Errors far;
    const auto slices = slices_among(rows);
    for (std::size_t a = 0; a < kSizeAxes; ++a) {
      auto [errors, values] = errors_of_slices(slices[a], a);
      far.insert(far.end(), errors.begin(), errors.end());
      sort.between[a] = errors.size() < kEnough
                            ? 0
                            : width_of(errors, kCovered + kFewValues / static_cast<double>(values));
    }
    rows.resize(std::min(rows.size(), kPoints));
    std::sort(rows.begin(), rows.end());
    auto near = errors_of_points(rows);
    std::sort(near.begin(), near.end(),
              [](const auto& a, const auto& b) { return a.variance < b.variance; });
    const auto half = near.size() / 2;
    sort.knots[0] = knot_of(std::span(near).first(half));
    sort.knots[1] = knot_of(std::span(near).subspan(half));
    // Without slices nothing is known of what lies beyond: twice as wide.
    sort.knots[2] = far.empty() ? Calibration::Knot{.variance = 1, .width = 2 * sort.knots[1].width}
                                : knot_of(far);
    for (double& width : sort.between) width = width > 0 ? width : sort.knots[2].width;
    std::sort(sort.knots.begin(), sort.knots.end(),
              [](const auto& a, const auto& b) { return a.variance < b.variance; });
    return sort;
  }

  Standardised standardised(const PartPrediction& p, std::size_t row) const {
    const double deviation = std::log(p.high_ms / p.latency_ms) / Calibration::Knot().width;
    const double error = std::abs(std::log(part_.observations()[row].latency_ms / p.latency_ms));
    return {.variance = p.relative_variance, .error = error / std::max(deviation, 1e-9)};
  }

  // `rows` ascending.
  Errors errors_of_points(std::span<const std::size_t> rows) {
    Errors errors;
    for (std::size_t i = 0; i < rows.size();) {
      const auto fold = weights_.fold_of(rows[i]);
      const PartModel::Without without(part_, std::nullopt, weights_.without_fold(fold));
      for (; i < rows.size() && weights_.fold_of(rows[i]) == fold; ++i)
        errors.push_back(standardised(without.at(sizes(rows[i]), rows[i]), rows[i]));
    }
    return errors;
  }

  // And how many slices they are. Rows of one slice follow each other.
  std::pair<Errors, std::size_t> errors_of_slices(const RowNumbers& rows, std::size_t axis) {
    std::pair<Errors, std::size_t> out;
    for (std::size_t i = 0; i < rows.size(); ++out.second) {
      const Slice slice = slice_of(rows[i], axis);
      const PartModel::Without without(part_, slice, weights_.without(slice));
      for (; i < rows.size() && slice.holds(sizes(rows[i])); ++i)
        out.first.push_back(standardised(without.at(sizes(rows[i])), rows[i]));
    }
    return out;
  }

  const PartModel& part_;
  LeftOutWeights& weights_;
  std::uint64_t seed_;
  Extent extent_;
};

}  // namespace

Calibration calibrate(const PartModel& part, LeftOutWeights& weights, std::uint64_t seed) {
  return Calibrator(part, weights, seed).run();
}

}  // namespace dsaperf::predict::stages
