#pragma once

#include "dsaperf/predict/stages/terms.hpp"

#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace dsaperf::predict::stages {

// How many times longer than at the card's nominal rates the terms of a part take.
struct StageWeights {
  std::vector<double> terms;
  // Of the host (host_time.hpp), where it has a floor.
  double score_pieces = 0, contexts = 0;

  double kernels_ms(const TermValues& values) const;
  // Of the host, whose floor is `floor`, 0 where there is none.
  double host_ms(const Setting& setting, const Sizes& sizes, double floor) const;
};

// Non-negative weights of the least relative error over the observations, but for those that
// `left_out` names (empty: none). `values`: term_values of each. Where the host has a floor the
// fit starts from `start`, else from the usual weights.
StageWeights fit_weights(const Setting& setting, const std::vector<Observation>& observations,
                         std::span<const TermValues> values, double floor,
                         const std::function<bool(std::size_t)>& left_out = {},
                         const StageWeights* start = nullptr);
// Of all observations.
StageWeights fit_weights(const Setting& setting, const std::vector<Observation>& observations,
                         double floor);

}  // namespace dsaperf::predict::stages
