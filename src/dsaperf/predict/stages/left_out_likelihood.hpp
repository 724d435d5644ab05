#pragma once

#include "dsaperf/predict/stages/nearest_process.hpp"

#include <cstdint>
#include <vector>

namespace dsaperf::predict::stages {

// How likely observations are that were left out, each predicted from some others, as a function of
// the hyperparameters, with its gradient. Errors follow a Student-t distribution: tables have
// outliers.
class LeftOutLikelihood {
 public:
  static constexpr std::size_t kMostOthers = 48;

  // `axes`: coordinates in use.
  LeftOutLikelihood(std::size_t axes, const std::vector<Coordinates>& at,
                    const std::vector<double>& observed);

  struct Case {
    std::size_t index = 0;
    std::vector<std::uint32_t> on;  // what it is predicted from; at most kMostOthers
    // What the stage model leaves where it was fitted without the case; none: as for the others.
    const std::vector<double>* observed = nullptr;
  };

  // The hyperparameters' logarithms in one row: lengths, signal, noise, steps.
  std::size_t size() const { return axes_ + 2 + steps_; }
  std::size_t signal_at() const { return axes_; }
  std::size_t noise_at() const { return axes_ + 1; }
  std::size_t steps_at() const { return axes_ + 2; }
  std::size_t steps() const { return steps_; }
  Hyperparameters hyper_of(const std::vector<double>& x) const;

  // Mean of -log p over the cases; adds `weight` times its gradient to `gradient`.
  double loss(const std::vector<double>& x, const std::vector<Case>& cases, double weight,
              std::vector<double>& gradient) const;

 private:
  std::size_t axes_;
  std::size_t steps_;
  const std::vector<Coordinates>& at_;
  const std::vector<double>& observed_;
};

}  // namespace dsaperf::predict::stages
