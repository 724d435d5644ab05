#pragma once

#include "dsaperf/predict/stages/calibration.hpp"
#include "dsaperf/predict/stages/nearest_process.hpp"
#include "dsaperf/predict/stages/neighbourhoods.hpp"
#include "dsaperf/predict/stages/part_grid.hpp"
#include "dsaperf/predict/stages/row_index.hpp"
#include "dsaperf/predict/stages/stage_weights.hpp"
#include "dsaperf/predict/stages/terms.hpp"

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace dsaperf::predict::stages {

// What is fitted once for a part of a table and kept (hyperparameter_store.hpp).
struct PartParameters {
  Hyperparameters hyper;
  Calibration calibration;
  // Where every kernel is launched from the host, a layer takes at least the time of its launches
  // (host_time.hpp). 0: no such floor was recognised.
  double host_floor_ms = 0;
  StageWeights weights = {};  // no terms: fitted by the model when it is made
};

// A latency with its 90 % interval.
struct PartPrediction {
  double latency_ms = 0, low_ms = 0, high_ms = 0;
  double stage_ms = 0;           // of the stage model alone
  double relative_variance = 0;  // 0: measured here; 1: nothing near
};

// The measurements of one kind of layer, kernel and regime, and the model of them:
//
//   latency = with_host_time(host, sum of weight * term) * exp(process)
//
// The weights are non-negative least squares of the relative error; the process takes what remains,
// in the log2 of the sizes. docs/predict.md has the formulas.
class PartModel {
 public:
  // Small parts can afford more: a smooth table is worth it.
  static constexpr std::size_t kNeighbours = 64;
  static constexpr std::size_t kSmallPartNeighbours = 96;
  static constexpr std::size_t kSmallPart = 2000;  // rows

  PartModel(Setting setting, std::vector<Observation> observations, PartParameters parameters);

  // Fits the parameters from the observations, the host's floor given; deterministic. About half a
  // second for a part of 4,000.
  static PartParameters fit(const Setting& setting, const std::vector<Observation>& observations,
                            double host_floor_ms = 0);

  // Within a cell of measured rows the correction is interpolated between the smoothed ones at its
  // corners (0.2 us); anywhere else the process answers from the neighbourhood (0.6 us). The first
  // question near a row costs 100 us more. Not safe to use from several threads.
  PartPrediction at(const Sizes& sizes) const;
  // The process itself, everywhere: what at() approximates within cells.
  PartPrediction at_neighbourhood(const Sizes& sizes) const;
  // What becomes of an answer of the part in a setting that differs from the part's (another topk,
  // other index heads, another card): its stages, the correction of the part, an interval wider by
  // a quarter of the change and by `doubt` (in log, of the move itself).
  PartPrediction moved(PartPrediction from, const Sizes& sizes, const Setting& other,
                       double doubt = 0) const;
  // The same without the measurement of exactly these sizes; `index` of it. Kept once computed.
  PartPrediction without(std::size_t index) const;
  // Whether its neighbours contradict a measurement: it is four half-widths of its left-out
  // interval away, or more. Such a row answers nowhere, and cells that it is a corner of have what
  // its neighbours say instead.
  bool is_contradicted(std::size_t index) const;
  std::optional<std::size_t> find(const Sizes& sizes) const {
    return rows_.find(observations_, sizes);
  }
  // Milliseconds of each term at `sizes`, in the order of terms(); their sum is the kernels' time.
  std::vector<double> split(const Sizes& sizes, const Setting& other) const;
  std::vector<double> split(const Sizes& sizes) const { return split(sizes, setting_); }
  // Milliseconds that the host needs to launch it all; 0 where it has no floor.
  double host_ms(const Sizes& sizes, const Setting& other) const {
    return weights_.host_ms(other, sizes, parameters_.host_floor_ms);
  }
  // Of the interval at a point, in posterior standard deviations.
  double width(double relative_variance, const Sizes& sizes, const Unmeasured& unmeasured) const {
    return (at_edge(setting_, sizes) ? edge_ : body_).at(relative_variance, unmeasured);
  }

  // How far the nearest measurement is, in log2 of the sizes, squared.
  double squared_distance(const Sizes& sizes) const;

  // Measurements nearest to `sizes`, with their distance in length scales.
  std::vector<std::pair<std::size_t, double>> nearest(const Sizes& sizes, std::size_t count) const;

  StageWeights weights_without(const std::function<bool(std::size_t)>& left_out) const;
  // What a stage model of some weights leaves of each measurement, in log. One of nothing (all
  // weights 0) leaves everything.
  std::vector<double> remainders(const StageWeights& weights) const;

  // The same model with weights fitted without some observations; the parameters stay.
  class Without {
   public:
    // The process does not look at the slice either.
    Without(const PartModel& part, const Slice& slice);
    // The process looks at the fold, but for the observation that is named in at().
    Without(const PartModel& part, const std::function<bool(std::size_t)>& fold);
    // The same with weights that were fitted so before.
    Without(const PartModel& part, std::optional<Slice> slice, StageWeights weights);
    PartPrediction at(const Sizes& sizes, std::optional<std::size_t> left_out = {}) const;

   private:
    const PartModel& part_;
    std::optional<Slice> slice_;
    StageWeights weights_;
    NearestProcess process_;
  };

  const Setting& setting() const { return setting_; }
  const std::vector<Observation>& observations() const { return observations_; }
  const StageWeights& weights() const { return weights_; }
  const PartParameters& parameters() const { return parameters_; }

 private:
  friend class Without;
  std::size_t neighbours() const {
    return observations_.size() < kSmallPart ? kSmallPartNeighbours : kNeighbours;
  }
  PartPrediction finish(const Posterior& posterior, double stage_ms, const Sizes& sizes,
                        const Unmeasured& unmeasured) const;
  bool in_cell(const Sizes& sizes, Posterior& out, Unmeasured& unmeasured) const;
  Neighbourhoods::MeanParts corner(std::size_t index) const;
  void prepare_grid();
  double stage_ms(const Sizes& sizes) const;
  double stage_ms_in(const Setting& other, const Sizes& sizes) const;

  Setting setting_;
  std::vector<Observation> observations_;
  PartParameters parameters_;
  Widths body_, edge_;
  std::vector<TermValues> values_;  // terms of each observation
  StageWeights weights_;
  TermSum kernels_;  // the terms by their weights
  NearestProcess process_;

  RowIndex rows_;
  Neighbourhoods neighbourhoods_;
  PartGrid grid_;
  // By axis and interval between lines: what interpolation in its middle does not know of the
  // smooth part, at least and more where the total moves as far, and of what belongs to one value
  // alone.
  struct Bend {
    double least = 0, by_total = 0;
  };
  std::array<std::vector<Bend>, PartGrid::kAxes> bends_;
  std::array<double, PartGrid::kAxes> step_variance_{};
  struct Smoothed {
    bool known = false;
    Neighbourhoods::MeanParts parts;
  };
  mutable std::vector<Smoothed> smoothed_;                       // by observation
  mutable std::vector<std::optional<PartPrediction>> left_out_;  // by observation
  struct Elsewhere {
    Setting setting;
    TermSum kernels;
  };
  mutable std::optional<Elsewhere> elsewhere_;  // asked for last: questions repeat it
};

// log2 of what latency depends on: heads, batch, new, past + 1, total, all tokens; in decode
// without the new tokens and the total, which follow from the others.
Coordinates coordinates(const Setting& setting, const Sizes& sizes);

}  // namespace dsaperf::predict::stages
