#pragma once

#include "dsaperf/predict/stages/nearest_process.hpp"
#include "dsaperf/predict/stages/terms.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace dsaperf::predict::stages {

struct Observation {
  Sizes sizes;
  double latency_ms = 0;
};

// How wide an interval must be, in posterior standard deviations, so that 9 of 10 left-out
// measurements lie in it: `near` at the relative variance that single left-out points have, `far`
// at that of whole slices left out; between them by the logarithm of the variance, beyond them
// constant.
struct Calibration {
  double near_variance = 0.01, near_width = 1.645;
  double far_variance = 0.3, far_width = 1.645;

  double width(double relative_variance) const;
};

// What is fitted once for a part of a table and kept (hyperparameter_store.hpp).
struct PartParameters {
  Hyperparameters hyper;
  Calibration calibration;
};

// A latency with its 90 % interval.
struct PartPrediction {
  double latency_ms = 0, low_ms = 0, high_ms = 0;
  double stage_ms = 0;           // of the stage model alone
  double relative_variance = 0;  // 0: measured here; 1: nothing near
  std::size_t nearest = 0;       // observation
};

// The measurements of one kind of layer, kernel and regime, and the model of them:
//
//   latency = (sum of weight * term) * exp(process)
//
// The weights are non-negative least squares of the relative error; the process takes what remains,
// in the log2 of the sizes. docs/predict.md has the formulas.
class PartModel {
 public:
  // Small parts can afford more: a smooth table is worth it.
  static constexpr std::size_t kNeighbours = 64;
  static constexpr std::size_t kSmallPartNeighbours = 96;
  static constexpr std::size_t kSmallPart = 2000;  // rows

  PartModel(Setting setting, std::vector<Observation> observations,
            const PartParameters& parameters);

  // Fits the parameters from the observations; deterministic. About half a second for a part of
  // 4,000.
  static PartParameters fit(const Setting& setting, const std::vector<Observation>& observations);

  // Costs about 2 us where a point near it was asked before, 100 us where none was. Points near
  // each other are answered from the same neighbours. Not safe to use from several threads.
  PartPrediction at(const Sizes& sizes) const;
  // What the model says of a setting that differs from the part's (another topk, other index
  // heads): its stages, the correction of the part, an interval wider by a quarter of the change.
  PartPrediction at(const Sizes& sizes, const Setting& other) const;
  // The same without the measurement of exactly these sizes; `index` of it. Kept once computed.
  PartPrediction without(std::size_t index) const;
  std::optional<std::size_t> find(const Sizes& sizes) const;
  // Milliseconds of each term at `sizes`, in the order of terms(); their sum is the stage model.
  std::vector<double> split(const Sizes& sizes, const Setting& other) const;
  std::vector<double> split(const Sizes& sizes) const { return split(sizes, setting_); }

  // How far the nearest measurement is, in log2 of the sizes, squared.
  double squared_distance(const Sizes& sizes) const;

  // Measurements nearest to `sizes`, with their distance in length scales.
  std::vector<std::pair<std::size_t, double>> nearest(const Sizes& sizes, std::size_t count) const;

  // The same model with weights fitted without some observations; the parameters stay. `slice`: the
  // process does not look at them either. `fold`: it does, but for the one named in at().
  class Without {
   public:
    enum class Extent { kSlice, kFold };
    Without(const PartModel& part, std::function<bool(std::size_t)> left_out, Extent extent);
    PartPrediction at(const Sizes& sizes, std::optional<std::size_t> left_out = {}) const;

   private:
    const PartModel& part_;
    std::function<bool(std::size_t)> left_out_;
    Extent extent_;
    std::vector<double> weights_;
    NearestProcess process_;
  };

  const Setting& setting() const { return setting_; }
  const std::vector<Observation>& observations() const { return observations_; }
  const std::vector<double>& weights() const { return weights_; }
  const PartParameters& parameters() const { return parameters_; }

 private:
  friend class Without;
  std::size_t neighbours() const {
    return observations_.size() < kSmallPart ? kSmallPartNeighbours : kNeighbours;
  }
  PartPrediction finish(const Posterior& posterior, double stage_ms) const;

  Setting setting_;
  std::vector<Observation> observations_;
  PartParameters parameters_;
  std::vector<TermValues> values_;  // terms of each observation
  std::vector<double> weights_;
  NearestProcess process_;

  using Cell = std::array<std::int16_t, kMaxCoordinates>;
  struct CellHash {
    std::size_t operator()(const Cell& cell) const;
  };
  mutable std::unordered_map<Cell, NearestProcess::Local, CellHash> cells_;
  mutable std::vector<std::optional<PartPrediction>> left_out_;  // by observation
};

// log2 of what latency depends on: heads, batch, new, past + 1, total, all tokens; in decode
// without the new tokens and the total, which follow from the others.
Coordinates coordinates(const Setting& setting, const Sizes& sizes);

}  // namespace dsaperf::predict::stages
