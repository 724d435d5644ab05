#include "dsaperf/predict/stages/part_model.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

// The parameters of a part: those under which its measurements, left out, are most likely. Half of
// the sample are points left out alone, half are points left out with every measurement that shares
// their value of one axis, so that the lengths serve interpolation and what lies beyond it.
namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

constexpr std::size_t kSample = 240;        // left-out points of each sort
constexpr std::size_t kFitNeighbours = 24;  // of 64 used later: lengths depend little on it
constexpr std::size_t kSmallPart = 2000;    // rows; such a part can afford 36, and two starts
constexpr std::size_t kSmallPartNeighbours = 36;
constexpr double kLongPast = 40;
constexpr std::size_t kPastAxis = 3;  // in prefill's coordinates
constexpr double kSliceWeight = 0.35;
constexpr int kRounds = 3;  // neighbours are chosen anew for the lengths of the round before
constexpr double kPriorLength = 3;  // log2 units; a weak pull where the data say nothing
constexpr double kPriorWeight = 0.005;
constexpr double kStudent = 4;  // degrees of freedom: tables have outliers
constexpr std::uint64_t kSeed = 20250701;

struct LeftOutPoint {
  std::size_t index = 0;
  std::vector<std::uint32_t> on;  // what it is predicted from
};

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
  Fit(const Setting& setting, const std::vector<Observation>& observations)
      : observations_(observations),
        plain_(setting, observations, {.hyper = unit_hyper(setting), .calibration = {}}) {
    for (const auto& o : observations_) at_.push_back(coordinates(setting, o.sizes));
    remainders_.reserve(at_.size());
    for (const auto& o : observations_) {
      double stage_ms = 0;
      for (const double ms : plain_.split(o.sizes)) stage_ms += ms;
      remainders_.push_back(std::log(o.latency_ms / std::max(stage_ms, 1e-9)));
    }
    axes_ = setting.phase == Phase::kGeneration ? 3 : 6;
    choose_points();
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
    PartParameters found{.hyper = hyper_of(best.first), .calibration = {}};
    found.calibration = calibrate(found.hyper);
    return found;
  }

 private:
  // The place that a search from these values ends at, and its loss.
  std::pair<std::vector<double>, double> from(double past_length, double noise) {
    std::vector<double> x(axes_ + 2, std::log(kPriorLength));
    if (axes_ > kPastAxis) x[kPastAxis] = std::log(past_length);
    double spread = 0;
    for (const double r : remainders_) spread += r * r;
    spread = std::sqrt(spread / static_cast<double>(std::max<std::size_t>(remainders_.size(), 1)));
    x[axes_] = std::log(std::max(spread, 0.02));
    x[axes_ + 1] = std::log(noise);
    for (int round = 0; round < kRounds; ++round) {
      find_neighbours(hyper_of(x));
      search(x, round == 0 ? 0.8 : 0.4, round + 1 == kRounds ? 0.05 : 0.15);
    }
    return {x, loss(x)};
  }

  static Hyperparameters unit_hyper(const Setting& setting) {
    Hyperparameters hyper;
    for (std::size_t a = 0; a < (setting.phase == Phase::kGeneration ? 3U : 6U); ++a)
      hyper.length[a] = kPriorLength;
    return hyper;
  }

  Hyperparameters hyper_of(const std::vector<double>& x) const {
    Hyperparameters hyper;
    for (std::size_t a = 0; a < axes_; ++a) hyper.length[a] = std::exp(x[a]);
    hyper.signal = std::exp(x[axes_]);
    hyper.noise = std::exp(x[axes_ + 1]);
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

  void find_neighbours(const Hyperparameters& hyper) {
    const NearestProcess process(at_, remainders_, hyper, neighbours_);
    for (auto& point : points_) {
      point.on = process.nearest(at_[point.index], kFitNeighbours,
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

  // Mean of -log p over the left-out points, Student-t, plus the prior.
  double loss(const std::vector<double>& x) const {
    const auto hyper = hyper_of(x);
    const NearestProcess process(at_, remainders_, hyper, neighbours_);
    const auto mean_of = [&](const std::vector<LeftOutPoint>& points) {
      double sum = 0;
      for (const auto& point : points) {
        const auto posterior = process.conditioned(at_[point.index], point.on);
        const double error = remainders_[point.index] - posterior.mean;
        sum += 0.5 * std::log(posterior.variance) +
               (kStudent + 1) / 2 * std::log1p(error * error / posterior.variance / kStudent);
      }
      return points.empty() ? 0 : sum / static_cast<double>(points.size());
    };
    double prior = 0;
    for (std::size_t a = 0; a < axes_; ++a) {
      const double d = x[a] - std::log(kPriorLength);
      prior += d * d;
    }
    return mean_of(points_) + kSliceWeight * mean_of(slices_) + kPriorWeight * prior;
  }

  // Pattern search, one coordinate after the other, the step halved when none helps.
  void search(std::vector<double>& x, double step, double last_step) const {
    double best = loss(x);
    while (step > last_step) {
      bool improved = false;
      for (std::size_t i = 0; i < x.size(); ++i) {
        for (const double direction : {1.0, -1.0}) {
          auto next = x;
          next[i] += direction * step;
          if (i < axes_) next[i] = std::clamp(next[i], std::log(0.2), std::log(40.0));
          if (i == axes_ + 1) next[i] = std::clamp(next[i], std::log(2e-4), std::log(0.3));
          if (i == axes_) next[i] = std::clamp(next[i], std::log(5e-3), std::log(2.0));
          const double value = loss(next);
          if (value < best - 1e-5) {
            best = value;
            x = next;
            improved = true;
            break;
          }
        }
      }
      if (!improved) step /= 2;
    }
  }

  struct Spread {
    double variance = 0;  // median, relative to the signal
    double width = 0;     // 9 of 10 standardised errors are below it
  };

  Spread spread_of(const std::vector<std::pair<double, double>>& variance_and_error) const {
    std::vector<double> variances;
    std::vector<double> errors;
    for (const auto& [variance, error] : variance_and_error) {
      variances.push_back(variance);
      errors.push_back(error);
    }
    std::sort(variances.begin(), variances.end());
    std::sort(errors.begin(), errors.end());
    return {.variance = std::max(variances[variances.size() / 2], 1e-6),
            .width = errors[std::min(errors.size() - 1, errors.size() * 9 / 10)]};
  }

  // With the neighbours that predictions use, and weights fitted without what is left out.
  Calibration calibrate(const Hyperparameters& hyper) const {
    const PartModel model(plain_.setting(), observations_, {.hyper = hyper, .calibration = {}});
    std::vector<std::pair<double, double>> near;
    std::vector<std::pair<double, double>> far;
    const auto add = [&](std::vector<std::pair<double, double>>& out, const PartPrediction& p,
                         std::size_t index) {
      const double deviation =
          std::log(p.high_ms / p.latency_ms) / Calibration().width(p.relative_variance);
      const double error = std::abs(std::log(observations_[index].latency_ms / p.latency_ms));
      out.emplace_back(p.relative_variance, error / std::max(deviation, 1e-9));
    };
    const PartModel::Without none(
        model, [](std::size_t) { return false; }, PartModel::Without::Extent::kFold);
    for (const auto& point : points_) {
      add(near, none.at(observations_[point.index].sizes, point.index), point.index);
    }
    // Slices of one axis value share a refit.
    std::vector<std::size_t> order(slices_.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto key = [&](std::size_t s) {
      return std::pair(slice_axis_[s],
                       axes_of(observations_[slices_[s].index].sizes)[slice_axis_[s]]);
    };
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return key(a) < key(b); });
    for (std::size_t i = 0; i < order.size();) {
      const auto [axis, value] = key(order[i]);
      const PartModel::Without without(
          model,
          [&, axis = axis, value = value](std::size_t o) {
            return axes_of(observations_[o].sizes)[axis] == value;
          },
          PartModel::Without::Extent::kSlice);
      for (const auto group = std::pair(axis, value); i < order.size() && key(order[i]) == group;
           ++i) {
        const auto index = slices_[order[i]].index;
        add(far, without.at(observations_[index].sizes), index);
      }
    }
    Calibration calibration;
    if (near.empty()) return calibration;
    const auto near_spread = spread_of(near);
    calibration.near_variance = near_spread.variance;
    calibration.near_width = near_spread.width;
    const auto far_spread =
        far.empty() ? Spread{.variance = 1, .width = 2 * near_spread.width} : spread_of(far);
    calibration.far_variance = far_spread.variance;
    calibration.far_width = far_spread.width;
    return calibration;
  }

  const std::vector<Observation>& observations_;
  PartModel plain_;
  std::vector<Coordinates> at_;
  std::vector<double> remainders_;
  std::size_t axes_ = 6;
  std::size_t neighbours_ = kFitNeighbours;
  std::vector<LeftOutPoint> points_;
  std::vector<LeftOutPoint> slices_;
  std::vector<std::size_t> slice_axis_;
};

}  // namespace

PartParameters PartModel::fit(const Setting& setting,
                              const std::vector<Observation>& observations) {
  return Fit(setting, observations).run();
}

}  // namespace dsaperf::predict::stages
