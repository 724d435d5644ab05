#include "dsaperf/predict/stages/calibrate.hpp"
#include "dsaperf/predict/stages/left_out_likelihood.hpp"
#include "dsaperf/predict/stages/left_out_weights.hpp"
#include "dsaperf/predict/stages/part_model.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <utility>

// The parameters of a part: those under which its measurements, left out, are most likely. Half of
// the sample are points left out alone, half are points left out with every measurement that shares
// their value of one axis, so that the lengths serve interpolation and what lies beyond it.
namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

constexpr std::size_t kSample = 200;        // left-out points of each sort
constexpr std::size_t kFitNeighbours = 24;  // of 64 used later: lengths depend little on it
constexpr std::size_t kSmallPart = 2000;    // rows; such a part can afford 36, and two starts
constexpr std::size_t kSmallPartNeighbours = 36;
constexpr double kLongPast = 40;
constexpr std::size_t kPastAxis = 3;  // in prefill's coordinates
constexpr double kSliceWeight = 2;    // to one of a point: questions lie between measured values
constexpr int kRounds = 3;  // neighbours are chosen anew for the lengths of the round before
constexpr std::array<int, kRounds> kSteps = {24, 16, 16};  // of the search, each round
constexpr double kPriorLength = 3;  // log2 units; a weak pull where the data say nothing
constexpr double kStep = 0.1;       // of the signal, to begin with
constexpr double kPriorWeight = 0.005;
constexpr std::uint64_t kSeed = 20250701;

using LeftOutPoint = LeftOutLikelihood::Case;

std::size_t coordinates_in_use(Phase phase) {
  return phase == Phase::kGeneration ? 3 : 6;
}

// Of a part before its lengths are known: the model's stage weights are fitted, its process is not
// asked.
Hyperparameters unit_hyper(Phase phase) {
  Hyperparameters hyper;
  std::fill_n(hyper.length.begin(), coordinates_in_use(phase), kPriorLength);
  return hyper;
}

class Fit {
 public:
  Fit(const Setting& setting, const std::vector<Observation>& observations, double host_floor)
      : observations_(observations),
        plain_(
            setting, observations,
            {.hyper = unit_hyper(setting.phase), .calibration = {}, .host_floor_ms = host_floor}),
        left_out_weights_(plain_),
        remainders_(plain_.remainders(plain_.weights())),
        axes_(coordinates_in_use(setting.phase)),
        likelihood_(axes_, at_, remainders_),
        neighbours_(observations.size() < kSmallPart ? kSmallPartNeighbours : kFitNeighbours) {
    for (const auto& o : observations_) at_.push_back(coordinates(setting, o.sizes));
    choose_points();
    refit_without_slices();
  }

  PartParameters run() {
    auto best = from(kPriorLength, 0.01);
    if (observations_.size() < kSmallPart) {
      // Where a table has few values of past (none, and a short prefix) nothing depends on it, and
      // the search by single steps does not find that out.
      auto other = from(kLongPast, 0.002);
      if (other.second < best.second) best = std::move(other);
    }
    PartParameters found = plain_.parameters();
    found.hyper = likelihood_.hyper_of(best.first);
    found.weights = plain_.weights();
    const PartModel model(plain_.setting(), observations_, found);
    found.calibration = calibrate(model, left_out_weights_, kSeed + 1);
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

  void choose_points() {
    Extent extent;
    for (const auto& o : observations_) extent.widen(o.sizes);
    const auto low = extent.low.axes();
    const auto high = extent.high.axes();
    std::mt19937_64 random(kSeed);
    std::vector<std::size_t> order(observations_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::shuffle(order.begin(), order.end(), random);
    for (const auto index : order) {
      if (points_.size() < kSample) points_.push_back({.index = index, .on = {}});
      if (slices_.size() >= kSample) break;
      const auto own = observations_[index].sizes.axes();
      std::array<std::size_t, kSizeAxes> inner{};
      std::size_t count = 0;
      for (std::size_t a = 0; a < own.size(); ++a) {
        if (own[a] > low[a] && own[a] < high[a]) inner[count++] = a;
      }
      if (count == 0) continue;
      slices_.push_back({.index = index, .on = {}});
      slice_axis_.push_back(inner[random() % count]);
    }
  }

  // A slice tells what the process must do where the stage model was not fitted either: weights
  // that saw the slice follow it, what is left of it agrees with nothing beside it, and steps are
  // found where there are none.
  void refit_without_slices() {
    for (std::size_t s = 0; s < slices_.size(); ++s) {
      const Slice slice = slice_of(slices_[s].index, slice_axis_[s]);
      auto& own = without_slice_[slice];
      if (own.empty()) own = plain_.remainders(left_out_weights_.without(slice));
      slices_[s].observed = &own;
    }
  }

  Slice slice_of(std::size_t index, std::size_t axis) const {
    return {.axis = axis, .value = observations_[index].sizes.axes()[axis]};
  }

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
    for (std::size_t a = 0; a < axes_; ++a) {
      const double d = x[a] - std::log(kPriorLength);
      sum += kPriorWeight * d * d;
      gradient[a] += 2 * kPriorWeight * d;
    }
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

  const std::vector<Observation>& observations_;
  PartModel plain_;
  LeftOutWeights left_out_weights_;
  std::vector<Coordinates> at_;
  std::vector<double> remainders_;
  // Of weights that never saw the slice.
  std::map<Slice, std::vector<double>> without_slice_;
  std::size_t axes_;
  LeftOutLikelihood likelihood_;
  std::size_t neighbours_;
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
