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

// A few numbers that a part of a table has in common.
struct Hyperparameters {
  Coordinates length{};  // of the Matern kernel, in log2 of each coordinate
  double signal = 0.1;   // standard deviation of what the stage model leaves, in log of latency
  double noise = 0.01;   // of a measurement
};

// Mean and variance (the noise of a measurement included) of a Gaussian process at a point.
struct Posterior {
  double mean = 0;
  double variance = 0;
  std::size_t nearest = 0;  // index of the nearest observation
  double distance = 0;      // to it, in length scales
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

  // Indices of the observations nearest to a point, nearest first, in scaled coordinates.
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

 private:
  std::vector<Coordinates> at_;
  std::vector<Coordinates> scaled_;
  std::vector<double> observed_;
  Hyperparameters hyper_;
  std::size_t neighbours_;
};

}  // namespace dsaperf::predict::stages
