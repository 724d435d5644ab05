#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/left_out_likelihood.hpp"
#include "dsaperf/predict/stages/part_model.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <tuple>
#include <utility>

// The parameters of a part: those under which its measurements, left out, are most likely. Half of
// the sample are points left out alone, half are points left out with every measurement that shares
// their value of one axis, so that the lengths serve interpolation and what lies beyond it.
namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

constexpr std::size_t kSample = 200;             // left-out points of each sort
constexpr std::size_t kCalibrationSample = 400;  // points
constexpr std::size_t kSliceSample = 200;        // rows of the slices of one axis
constexpr std::size_t kEnough = 20;              // to measure a width
constexpr std::size_t kFitNeighbours = 24;       // of 64 used later: lengths depend little on it
constexpr std::size_t kSmallPart = 2000;         // rows; such a part can afford 36, and two starts
constexpr std::size_t kSmallPartNeighbours = 36;
constexpr double kCovered = 0.9;  // of left-out rows, by their intervals
// Rows of one slice are missed together: widths that cover 90 % of the slices of two head counts
// cover 85 % of others (benchmarks/predict/coverage.py), so that they are measured at 92.
constexpr double kFewValues = 0.04;  // over the number of slices
constexpr double kLongPast = 40;
constexpr std::size_t kPastAxis = 3;  // in prefill's coordinates
constexpr double kSliceWeight = 2;    // to one of a point: questions lie between measured values
constexpr std::size_t kFolds = 8;     // of a part's rows, for weights that never saw them
constexpr int kRounds = 3;  // neighbours are chosen anew for the lengths of the round before
constexpr std::array<int, kRounds> kSteps = {24, 16, 16};  // of the search, each round
constexpr double kPriorLength = 3;  // log2 units; a weak pull where the data say nothing
constexpr double kStep = 0.1;       // of the signal, to begin with
constexpr double kPriorWeight = 0.005;
constexpr std::uint64_t kSeed = 20250701;

using LeftOutPoint = LeftOutLikelihood::Case;

std::array<bool, 4> inner_axes(const std::vector<Observation>& observations, std::size_t index) {
  std::array<double, 4> low{};
  std::array<double, 4> high{};
  low.fill(INFINITY);
  high.fill(-INFINITY);
  for (const auto& o : observations) {
    const auto values = o.sizes.axes();
    for (std::size_t a = 0; a < values.size(); ++a) {
      low[a] = std::min(low[a], values[a]);
      high[a] = std::max(high[a], values[a]);
    }
  }
  const auto own = observations[index].sizes.axes();
  std::array<bool, 4> inner{};
  for (std::size_t a = 0; a < own.size(); ++a) inner[a] = own[a] > low[a] && own[a] < high[a];
  return inner;
}

class Fit {
 public:
  Fit(const Setting& setting, const std::vector<Observation>& observations, double host_floor)
      : observations_(observations),
        floor_(host_floor),
        plain_(setting, observations,
               {.hyper = unit_hyper(setting), .calibration = {}, .host_floor_ms = floor_}),
        axes_(setting.phase == Phase::kGeneration ? 3 : 6),
        likelihood_(axes_, at_, remainders_) {
    for (const auto& o : observations_) at_.push_back(coordinates(setting, o.sizes));
    values_.reserve(observations_.size());
    const SettingTerms terms(setting);
    for (const auto& o : observations_) values_.push_back(terms.values(o.sizes));
    remainders_ = remainders(plain_.weights());
    choose_points();
    refit_without_slices();
  }

  PartParameters run() {
    neighbours_ = observations_.size() < kSmallPart ? kSmallPartNeighbours : kFitNeighbours;
    auto best = from(kPriorLength, 0.01);
    if (observations_.size() < kSmallPart) {
      // Where a table has few values of past (none, and a short prefix) nothing depends on it, and
      // the search by single steps does not find that out.
      auto other = from(kLongPast, 0.002);
      if (other.second < best.second) best = std::move(other);
    }
    PartParameters found{.hyper = likelihood_.hyper_of(best.first),
                         .calibration = {},
                         .host_floor_ms = floor_,
                         .weights = plain_.weights()};
    found.calibration = calibrate(found.hyper);
    return found;
  }

 private:
  // The place that a search from these values ends at, and its loss.
  std::pair<std::vector<double>, double> from(double past_length, double noise) {
    std::vector<double> x(likelihood_.size(), std::log(kPriorLength));
    std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(likelihood_.steps_at()),
                likelihood_.steps(), std::log(kStep));
    if (axes_ > kPastAxis) x[kPastAxis] = std::log(past_length);
    double spread = 0;
    for (const double r : remainders_) spread += r * r;
    spread = std::sqrt(spread / static_cast<double>(std::max<std::size_t>(remainders_.size(), 1)));
    x[likelihood_.signal_at()] = std::log(std::max(spread, 0.02));
    x[likelihood_.noise_at()] = std::log(noise);
    double reached = INFINITY;
    for (int round = 0; round < kRounds; ++round) {
      find_neighbours(likelihood_.hyper_of(x));
      reached = search(x, kSteps[static_cast<std::size_t>(round)]);
    }
    return {x, reached};
  }

  static Hyperparameters unit_hyper(const Setting& setting) {
    Hyperparameters hyper;
    for (std::size_t a = 0; a < (setting.phase == Phase::kGeneration ? 3U : 6U); ++a)
      hyper.length[a] = kPriorLength;
    return hyper;
  }

  void choose_points() {
    std::mt19937_64 random(kSeed);
    std::vector<std::size_t> order(observations_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    for (const auto index : order) {
      if (points_.size() < kSample) points_.push_back({.index = index, .on = {}});
      if (slices_.size() >= kSample) break;
      const auto inner = inner_axes(observations_, index);
      std::array<std::size_t, 4> candidates{};
      std::size_t count = 0;
      for (std::size_t a = 0; a < inner.size(); ++a) {
        if (inner[a]) candidates[count++] = a;
      }
      if (count == 0) continue;
      slices_.push_back({.index = index, .on = {}});
      slice_axis_.push_back(candidates[random() % count]);
    }
  }

  // What a stage model of these weights leaves, in log.
  std::vector<double> remainders(const StageWeights& weights) const {
    std::vector<double> out;
    out.reserve(observations_.size());
    for (std::size_t i = 0; i < observations_.size(); ++i) {
      const auto& o = observations_[i];
      const double stage_ms = with_host_time(weights.host_ms(plain_.setting(), o.sizes, floor_),
                                             weights.kernels_ms(values_[i]));
      out.push_back(std::log(o.latency_ms / std::max(stage_ms, 1e-9)));
    }
    return out;
  }

  // A slice tells what the process must do where the stage model was not fitted either: weights
  // that saw the slice follow it, what is left of it agrees with nothing beside it, and steps are
  // found where there are none.
  void refit_without_slices() {
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      const Slice slice = slice_of(slices_[s].index, slice_axis_[s]);
      auto& own = without_slice_[slice];
      if (own.empty()) own = remainders(weights_without(slice));
      slices_[s].observed = &own;
    }
  }

  Slice slice_of(std::size_t index, std::size_t axis) const {
    return {.axis = axis, .value = observations_[index].sizes.axes()[axis]};
  }

  // Fitted once.
  const StageWeights& weights_without(const Slice& slice) {
    const auto [found, is_new] = slice_weights_.try_emplace(slice);
    if (is_new) {
      found->second = plain_.weights_without(
          [&](std::size_t o) { return slice.holds(observations_[o].sizes); });
    }
    return found->second;
  }
  const StageWeights& weights_without_fold(std::size_t fold) {
    auto& weights = fold_weights_[fold];
    if (weights.terms.empty())
      weights = plain_.weights_without([&](std::size_t o) { return fold_of(o) == fold; });
    return weights;
  }

  // Rows next to each other in the order of their sizes.
  std::size_t fold_of(std::size_t index) const { return index * kFolds / observations_.size(); }

  void find_neighbours(const Hyperparameters& hyper) {
    const NearestProcess process(at_, remainders_, hyper, neighbours_);
    for (auto& point : points_) {
      point.on = process.nearest(at_[point.index], neighbours_,
                                 [&](std::size_t i) { return i == point.index; });
    }
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      auto& point = slices_[s];
      const Slice slice = slice_of(point.index, slice_axis_[s]);
      point.on = process.nearest(at_[point.index], neighbours_, [&](std::size_t i) {
        return slice.holds(observations_[i].sizes);
      });
    }
  }

  double loss(const std::vector<double>& x, std::vector<double>& gradient) const {
    std::fill(gradient.begin(), gradient.end(), 0.0);
    double sum = likelihood_.loss(x, points_, 1, gradient) +
                 kSliceWeight * likelihood_.loss(x, slices_, kSliceWeight, gradient);
    const auto pull = [&](std::size_t i, double to) {
      const double d = x[i] - std::log(to);
      sum += kPriorWeight * d * d;
      gradient[i] += 2 * kPriorWeight * d;
    };
    for (std::size_t a = 0; a < axes_; ++a) pull(a, kPriorLength);
    return sum;
  }

  std::pair<double, double> limits(std::size_t i) const {
    if (i < axes_) return {0.2, 40};
    if (i == likelihood_.signal_at()) return {5e-3, 2};
    if (i == likelihood_.noise_at()) return {2e-4, 0.3};
    return {0.01, 3};
  }

  // Each coordinate has its own step, which grows while the slope keeps its sign and shrinks when
  // it turns (Riedmiller and Braun, 1993): slopes of different units need no common scale. Ends at
  // the best place seen.
  double search(std::vector<double>& x, int steps) const {
    constexpr double kFirst = 0.25;
    constexpr double kGrow = 1.2;
    constexpr double kShrink = 0.5;
    constexpr double kMost = 0.6;
    std::vector<double> gradient(x.size());
    std::vector<double> before(x.size(), 0);
    std::vector<double> step(x.size(), kFirst);
    auto best = x;
    double least = INFINITY;
    for (int s = 0; s < steps; ++s) {
      const double here = loss(x, gradient);
      if (here < least) {
        least = here;
        best = x;
      }
      for (std::size_t i = 0; i < x.size(); ++i) {
        const double turn = gradient[i] * before[i];
        if (turn < 0) {
          step[i] *= kShrink;
          before[i] = 0;  // stay for one step
          continue;
        }
        if (turn > 0) step[i] = std::min(step[i] * kGrow, kMost);
        const auto [low, high] = limits(i);
        x[i] = std::clamp(x[i] - (gradient[i] > 0 ? step[i] : -step[i]), std::log(low),
                          std::log(high));
        before[i] = gradient[i];
      }
    }
    x = best;
    return least;
  }

  struct Standardised {
    double variance = 0;  // relative, of the posterior
    double error = 0;     // in its standard deviations
  };
  using Errors = std::vector<Standardised>;

  // The width that 9 of 10 errors are below: of n errors the 0.9 (n + 1)th, so that the next one is
  // covered with 9 of 10 chances (conformal prediction). `share` for another than 9 of 10.
  static double width_of(std::span<Standardised> errors, double share = kCovered) {
    const auto count = static_cast<double>(errors.size());
    const auto rank = std::min(count, std::ceil(share * (count + 1))) - 1;
    const auto at = errors.begin() + static_cast<std::ptrdiff_t>(rank);
    std::nth_element(errors.begin(), at, errors.end(),
                     [](const auto& a, const auto& b) { return a.error < b.error; });
    return at->error;
  }

  // The median variance of these, and their width.
  static Calibration::Knot knot_of(std::span<Standardised> errors) {
    const auto middle = errors.begin() + static_cast<std::ptrdiff_t>(errors.size() / 2);
    std::nth_element(errors.begin(), middle, errors.end(),
                     [](const auto& a, const auto& b) { return a.variance < b.variance; });
    const double variance = std::max(middle->variance, 1e-9);
    return {.variance = variance, .width = width_of(errors)};
  }

  // Values that the table goes on beyond: a sparse part's smallest lengths have the dense rows on
  // their other side, and a dense part's largest the sparse ones; so have batches where graphs end,
  // and heads where another kernel takes over.
  std::array<bool, 4> has_both_sides(const Sizes& z, const Sizes& low, const Sizes& high) const {
    const auto& s = plain_.setting();
    const bool sparse = s.regime == Regime::kSparse;
    const auto inner = [](double v, double from, double to, bool goes_below, bool goes_beyond) {
      return from < to && (v > from || goes_below) && (v < to || goes_beyond);
    };
    return {inner(z.heads, low.heads, high.heads, s.fewer_heads, s.more_heads),
            inner(z.batch, low.batch, high.batch, s.batch_from > 1, std::isfinite(s.batch_to)),
            inner(z.new_tokens, low.new_tokens, high.new_tokens, sparse, !sparse),
            inner(z.past_tokens, low.past_tokens, high.past_tokens, sparse, !sparse)};
  }

  // In random order.
  template <typename IsOne>
  std::vector<std::size_t> calibration_rows(const IsOne& is_one) const {
    std::vector<std::size_t> rows;
    for (std::size_t i = 0; i < observations_.size(); ++i) {
      if (is_one(observations_[i].sizes)) rows.push_back(i);
    }
    std::mt19937_64 random(kSeed + 1);
    std::shuffle(rows.begin(), rows.end(), random);
    return rows;
  }

  // By axis, of these rows those that lie within its values; rows of one slice follow each other.
  std::array<std::vector<std::size_t>, kSizeAxes> calibration_slices(
      const std::vector<std::size_t>& rows) const {
    Sizes low{
        .heads = INFINITY, .batch = INFINITY, .new_tokens = INFINITY, .past_tokens = INFINITY};
    Sizes high;
    for (const auto& o : observations_) {
      for (double Sizes::* axis :
           {&Sizes::heads, &Sizes::batch, &Sizes::new_tokens, &Sizes::past_tokens}) {
        low.*axis = std::min(low.*axis, o.sizes.*axis);
        high.*axis = std::max(high.*axis, o.sizes.*axis);
      }
    }
    std::array<std::vector<std::size_t>, kSizeAxes> slices;
    for (const auto index : rows) {
      const auto both = has_both_sides(observations_[index].sizes, low, high);
      for (std::size_t a = 0; a < kSizeAxes; ++a) {
        if (both[a] && slices[a].size() < kSliceSample) slices[a].push_back(index);
      }
    }
    for (std::size_t a = 0; a < kSizeAxes; ++a) {
      std::sort(slices[a].begin(), slices[a].end(), [&](std::size_t i, std::size_t j) {
        return std::tuple(slice_of(i, a), i) < std::tuple(slice_of(j, a), j);
      });
    }
    return slices;
  }

  // With the neighbours that predictions use, and weights fitted without what is left out.
  Calibration calibrate(const Hyperparameters& hyper) {
    const PartModel model(
        plain_.setting(), observations_,
        {.hyper = hyper, .calibration = {}, .host_floor_ms = floor_, .weights = plain_.weights()});
    const auto& setting = plain_.setting();
    const auto all = calibration_rows([](const Sizes&) { return true; });
    const auto edge = calibration_rows([&](const Sizes& z) { return at_edge(setting, z); });
    const auto body = calibration_rows([&](const Sizes& z) { return !at_edge(setting, z); });
    Calibration calibration;
    calibration.body = widths(model, body.size() < kEnough ? all : body, calibration.body);
    calibration.edge =
        edge.size() < kEnough ? calibration.body : widths(model, edge, calibration.body);
    return calibration;
  }

  // Measured on these rows, left out alone and by slices; `otherwise` where they are too few.
  Calibration::Sort widths(const PartModel& model, std::vector<std::size_t> rows,
                           const Calibration::Sort& otherwise) {
    if (rows.size() < 2) return otherwise;
    Calibration::Sort sort;
    Errors all_far;
    const auto slices = calibration_slices(rows);
    for (std::size_t a = 0; a < kSizeAxes; ++a) {
      auto [far, values] = errors_of_slices(model, slices[a], a);
      all_far.insert(all_far.end(), far.begin(), far.end());
      sort.between[a] = far.size() < kEnough
                            ? 0
                            : width_of(far, kCovered + kFewValues / static_cast<double>(values));
    }
    rows.resize(std::min(rows.size(), kCalibrationSample));
    std::sort(rows.begin(), rows.end());
    auto near = errors_of_points(model, rows);
    std::sort(near.begin(), near.end(),
              [](const auto& a, const auto& b) { return a.variance < b.variance; });
    const auto half = near.size() / 2;
    sort.knots[0] = knot_of(std::span(near).first(half));
    sort.knots[1] = knot_of(std::span(near).subspan(half));
    // Without slices nothing is known of what lies beyond: twice as wide.
    sort.knots[2] = all_far.empty()
                        ? Calibration::Knot{.variance = 1, .width = 2 * sort.knots[1].width}
                        : knot_of(all_far);
    for (double& width : sort.between) width = width > 0 ? width : sort.knots[2].width;
    std::sort(sort.knots.begin(), sort.knots.end(),
              [](const auto& a, const auto& b) { return a.variance < b.variance; });
    return sort;
  }

  Standardised standardised(const PartPrediction& p, std::size_t index) const {
    const double deviation = std::log(p.high_ms / p.latency_ms) / Calibration::Knot().width;
    const double error = std::abs(std::log(observations_[index].latency_ms / p.latency_ms));
    return {.variance = p.relative_variance, .error = error / std::max(deviation, 1e-9)};
  }

  // `rows` ascending.
  Errors errors_of_points(const PartModel& model, std::span<const std::size_t> rows) {
    Errors errors;
    for (std::size_t i = 0; i < rows.size();) {
      const auto fold = fold_of(rows[i]);
      const PartModel::Without without(model, std::nullopt, weights_without_fold(fold));
      for (; i < rows.size() && fold_of(rows[i]) == fold; ++i)
        errors.push_back(standardised(without.at(observations_[rows[i]].sizes, rows[i]), rows[i]));
    }
    return errors;
  }

  // And how many slices they are. Rows of one slice follow each other.
  std::pair<Errors, std::size_t> errors_of_slices(const PartModel& model,
                                                  const std::vector<std::size_t>& rows,
                                                  std::size_t axis) {
    std::pair<Errors, std::size_t> out;
    for (std::size_t i = 0; i < rows.size(); ++out.second) {
      const Slice slice = slice_of(rows[i], axis);
      const PartModel::Without without(model, slice, weights_without(slice));
      for (; i < rows.size() && slice.holds(observations_[rows[i]].sizes); ++i)
        out.first.push_back(standardised(without.at(observations_[rows[i]].sizes), rows[i]));
    }
    return out;
  }

  const std::vector<Observation>& observations_;
  double floor_;
  PartModel plain_;
  std::vector<Coordinates> at_;
  std::vector<TermValues> values_;
  std::vector<double> remainders_;
  std::map<Slice, StageWeights> slice_weights_;
  std::array<StageWeights, kFolds> fold_weights_;
  // Remainders of weights that never saw a slice.
  std::map<Slice, std::vector<double>> without_slice_;
  std::size_t axes_;
  LeftOutLikelihood likelihood_;
  std::size_t neighbours_ = kFitNeighbours;
  std::vector<LeftOutPoint> points_;
  std::vector<LeftOutPoint> slices_;
  std::vector<std::size_t> slice_axis_;
};

}  // namespace

PartParameters PartModel::fit(const Setting& setting, const std::vector<Observation>& observations,
                              double host_floor_ms) {
  return Fit(setting, observations, host_floor_ms).run();
}

}  // namespace dsaperf::predict::stages
