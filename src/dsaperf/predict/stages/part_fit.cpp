#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/left_out_likelihood.hpp"
#include "dsaperf/predict/stages/part_model.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <tuple>
#include <utility>

// The parameters of a part: those under which its measurements, left out, are most likely. Half of
// the sample are points left out alone, half are points left out with every measurement that shares
// their value of one axis, so that the lengths serve interpolation and what lies beyond it.
namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

constexpr std::size_t kSample = 200;  // left-out points of each sort
constexpr std::size_t kCalibrationSample = 400;
constexpr std::size_t kEnoughAtEdge = 20;   // to measure widths there
constexpr std::size_t kFitNeighbours = 24;  // of 64 used later: lengths depend little on it
constexpr std::size_t kSmallPart = 2000;    // rows; such a part can afford 36, and two starts
constexpr std::size_t kSmallPartNeighbours = 36;
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

// Values of the axes a slice is made of: heads, batch, new, past.
std::array<double, 4> axes_of(const Sizes& z) {
  return {z.heads, z.batch, z.new_tokens, z.past_tokens};
}

std::array<bool, 4> inner_axes(const std::vector<Observation>& observations, std::size_t index) {
  std::array<double, 4> low{};
  std::array<double, 4> high{};
  low.fill(INFINITY);
  high.fill(-INFINITY);
  for (const auto& o : observations) {
    const auto values = axes_of(o.sizes);
    for (std::size_t a = 0; a < values.size(); ++a) {
      low[a] = std::min(low[a], values[a]);
      high[a] = std::max(high[a], values[a]);
    }
  }
  const auto own = axes_of(observations[index].sizes);
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
      const auto axis = slice_axis_[s];
      const double value = axes_of(observations_[slices_[s].index].sizes)[axis];
      auto& own = without_slice_[{axis, value}];
      if (own.empty()) {
        own = remainders(fit_weights(
            plain_.setting(), observations_, values_, floor_,
            [&](std::size_t o) { return axes_of(observations_[o].sizes)[axis] == value; },
            &plain_.weights()));
      }
      slices_[s].observed = &own;
    }
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
      const auto axis = slice_axis_[s];
      const double own = axes_of(observations_[point.index].sizes)[axis];
      point.on = process.nearest(at_[point.index], neighbours_, [&](std::size_t i) {
        return axes_of(observations_[i].sizes)[axis] == own;
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

  using Standardised = std::vector<std::pair<double, double>>;  // relative variance, error

  // The median variance of these, and the width that 9 of 10 errors are below: of n errors the
  // 0.9 (n + 1)th, so that the next one is covered with 9 of 10 chances (conformal prediction).
  static Calibration::Knot knot_of(Standardised::iterator begin, Standardised::iterator end) {
    const auto count = end - begin;
    std::nth_element(begin, begin + count / 2, end);
    const double variance = std::max((begin + count / 2)->first, 1e-9);
    const auto tenth = std::min(count - 1, (9 * (count + 1) + 9) / 10 - 1);
    std::nth_element(begin, begin + tenth, end,
                     [](const auto& a, const auto& b) { return a.second < b.second; });
    return {.variance = variance, .width = (begin + tenth)->second};
  }

  // A row left out with every row that shares its value of an axis.
  struct Slice {
    std::size_t axis = 0;
    double value = 0;
    std::size_t index = 0;
  };

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

  // Sorted, so that slices of one axis value share a refit.
  std::vector<Slice> calibration_slices(const std::vector<std::size_t>& rows) const {
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
    std::vector<Slice> slices;
    for (const auto index : rows) {
      const auto& sizes = observations_[index].sizes;
      const auto both = has_both_sides(sizes, low, high);
      for (std::size_t a = 0; a < both.size(); ++a) {
        if (both[a]) slices.push_back({.axis = a, .value = axes_of(sizes)[a], .index = index});
      }
    }
    // As many of each row's axes as they have slices: cut after the choice of rows, at random.
    std::mt19937_64 random(kSeed + 2);
    std::shuffle(slices.begin(), slices.end(), random);
    slices.resize(std::min(slices.size(), kCalibrationSample));
    std::sort(slices.begin(), slices.end(), [](const Slice& a, const Slice& b) {
      return std::tuple(a.axis, a.value, a.index) < std::tuple(b.axis, b.value, b.index);
    });
    return slices;
  }

  // With the neighbours that predictions use, and weights fitted without what is left out.
  Calibration calibrate(const Hyperparameters& hyper) const {
    const PartModel model(
        plain_.setting(), observations_,
        {.hyper = hyper, .calibration = {}, .host_floor_ms = floor_, .weights = plain_.weights()});
    const auto& setting = plain_.setting();
    const auto all = calibration_rows([](const Sizes&) { return true; });
    const auto edge = calibration_rows([&](const Sizes& z) { return at_edge(setting, z); });
    // A sparse part's first octave tells of the lengths behind it, many tokens nothing of few.
    const auto body = setting.phase == Phase::kGeneration && setting.regime == Regime::kDense
                          ? calibration_rows([&](const Sizes& z) { return !at_edge(setting, z); })
                          : all;
    Calibration calibration;
    calibration.knots = widths(model, body.size() < kEnoughAtEdge ? all : body, calibration.knots);
    calibration.edge =
        edge.size() < kEnoughAtEdge ? calibration.knots : widths(model, edge, calibration.knots);
    return calibration;
  }

  // Measured on these rows, left out alone and by slices; `otherwise` where they are too few.
  Calibration::Knots widths(const PartModel& model, std::vector<std::size_t> rows,
                            const Calibration::Knots& otherwise) const {
    Standardised near;
    Standardised far;
    const auto add = [&](Standardised& out, const PartPrediction& p, std::size_t index) {
      const double deviation = std::log(p.high_ms / p.latency_ms) / Calibration::Knot().width;
      const double error = std::abs(std::log(observations_[index].latency_ms / p.latency_ms));
      out.emplace_back(p.relative_variance, error / std::max(deviation, 1e-9));
    };
    const auto slices = calibration_slices(rows);
    rows.resize(std::min(rows.size(), kCalibrationSample));
    std::sort(rows.begin(), rows.end());
    for (std::size_t i = 0; i < rows.size();) {
      const auto fold = fold_of(rows[i]);
      const PartModel::Without without(
          model, [&](std::size_t o) { return fold_of(o) == fold; },
          PartModel::Without::Extent::kFold);
      for (; i < rows.size() && fold_of(rows[i]) == fold; ++i)
        add(near, without.at(observations_[rows[i]].sizes, rows[i]), rows[i]);
    }
    for (std::size_t i = 0; i < slices.size();) {
      const Slice& first = slices[i];
      const PartModel::Without without(
          model,
          [&](std::size_t o) { return axes_of(observations_[o].sizes)[first.axis] == first.value; },
          PartModel::Without::Extent::kSlice);
      for (; i < slices.size() && slices[i].axis == first.axis && slices[i].value == first.value;
           ++i) {
        const auto index = slices[i].index;
        add(far, without.at(observations_[index].sizes), index);
      }
    }
    if (near.size() < 2) return otherwise;
    std::sort(near.begin(), near.end());
    const auto middle = near.begin() + static_cast<std::ptrdiff_t>(near.size() / 2);
    Calibration::Knots knots;
    knots[0] = knot_of(near.begin(), middle);
    knots[1] = knot_of(middle, near.end());
    // Without slices nothing is known of what lies beyond: twice as wide.
    knots[2] = far.empty() ? Calibration::Knot{.variance = 1, .width = 2 * knots[1].width}
                           : knot_of(far.begin(), far.end());
    std::sort(knots.begin(), knots.end(),
              [](const auto& a, const auto& b) { return a.variance < b.variance; });
    return knots;
  }

  const std::vector<Observation>& observations_;
  double floor_;
  PartModel plain_;
  std::vector<Coordinates> at_;
  std::vector<TermValues> values_;
  std::vector<double> remainders_;
  // Remainders of weights that never saw a slice, by its axis and value.
  std::map<std::pair<std::size_t, double>, std::vector<double>> without_slice_;
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
