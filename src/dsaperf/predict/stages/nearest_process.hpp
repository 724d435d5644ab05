#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace dsaperf::predict::stages {

inline constexpr std::size_t kMaxCoordinates = 6;
using Coordinates = std::array<double, kMaxCoordinates>;  // unused ones are 0

// A few numbers that a part of a table has in common. The covariance of two points is
//
//   signal^2 * matern(distance in lengths) * (1 + sum over axes of step^2 where they agree exactly)
//
// The second term is what belongs to one value of an axis and says nothing of the next (a kernel's
// tile, a batch that takes one more wave, a length that another algorithm serves): smooth in the
// other axes, as where they agree their distance along the axis is none.
inline constexpr std::size_t kStepAxes = 4;  // of the coordinates, the first ones
struct Hyperparameters {
  Coordinates length{};  // of the Matern kernel, in log2 of each coordinate
  std::array<double, kStepAxes> step{};
  double signal = 0.1;  // standard deviation of what the stage model leaves, in log of latency
  double noise = 0.01;  // of a measurement
};

// Mean and variance (the noise of a measurement included) of a Gaussian process at a point.
struct Posterior {
  double mean = 0;
  double variance = 0;
};

// A Gaussian process with a Matern 5/2 kernel, conditioned on the observations nearest to the point
// asked for (a nearest-neighbour process): n^2 for n = `neighbours`, whatever the size of the
// table.
class NearestProcess {
 public:
  static constexpr std::size_t kMaxNeighbours = 96;

  // Zero mean far from all observations.
  NearestProcess(std::vector<Coordinates> at, std::vector<double> observed, Hyperparameters hyper,
                 std::size_t neighbours);

  std::size_t size() const { return at_.size(); }
  const Hyperparameters& hyper() const { return hyper_; }
  std::span<const Coordinates> at() const { return at_; }
  std::span<const double> observed() const { return observed_; }

  // `left_out(i)`: observation i is not looked at; empty: all are.
  using LeftOut = std::function<bool(std::size_t)>;
  Posterior posterior(const Coordinates& point, const LeftOut& left_out = {}) const;

  // Indices of the observations that tell most of a point, first the nearest, by covariance.
  std::vector<std::uint32_t> nearest(const Coordinates& point, std::size_t count,
                                     const LeftOut& left_out) const;

  // The covariance of chosen observations, factored: what is common to all points near each other.
  struct Local {
    std::vector<std::uint32_t> on;
    std::vector<double> factor;    // lower triangle, row by row
    std::vector<double> y_solved;  // factor^-1 * observed
  };
  Local local(std::vector<std::uint32_t> on) const;
  Posterior posterior(const Coordinates& point, const Local& local) const;

  // The posterior from chosen observations.
  Posterior conditioned(const Coordinates& point, std::span<const std::uint32_t> on) const;

  // In units of the lengths.
  Coordinates scaled(const Coordinates& point) const;

  const Coordinates& scaled_at(std::size_t i) const { return scaled_[i]; }

  // signal^2 with all steps: of a point with itself, without the noise.
  double prior_variance() const { return prior_; }
  // Of two observations; of one with itself with the noise.
  double covariance(std::size_t i, std::size_t j) const;

 private:
  // How much more alike two points are for the axes on which they agree; 1 and more.
  double agreement(const Coordinates& a, const Coordinates& b) const {
    double sum = 1;
    for (std::size_t i = 0; i < kStepAxes; ++i) sum += a[i] == b[i] ? step_squared_[i] : 0;
    return sum;
  }

  std::vector<Coordinates> at_;
  std::vector<Coordinates> scaled_;
  std::vector<double> observed_;
  Hyperparameters hyper_;
  std::array<double, kStepAxes> step_squared_{};
  double prior_ = 0;
  std::size_t neighbours_;
};

}  // namespace dsaperf::predict::stages
