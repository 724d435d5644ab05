#include "dsaperf/predict/stages/calibration.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::predict::stages {

Widths::Widths(const Calibration::Sort& sort) : between_(sort.between) {
  const auto& knots = sort.knots;
  for (std::size_t i = 0; i < knots.size(); ++i) {
    auto& own = knots_[i];
    own = {.variance = knots[i].variance,
           .log = std::log(knots[i].variance),
           .width = knots[i].width,
           .slope = 0};
    if (i == 0) continue;
    const double span = own.log - knots_[i - 1].log;
    if (span > 0) own.slope = (own.width - knots_[i - 1].width) / span;
  }
}

double Widths::at(double relative_variance, const Unmeasured& unmeasured) const {
  double widest = 0;
  for (std::size_t a = 0; a < kSizeAxes; ++a)
    widest = std::max(widest, unmeasured[a] ? between_[a] : 0.0);
  if (widest > 0) return widest;
  if (relative_variance <= knots_.front().variance) return knots_.front().width;
  for (std::size_t i = 1; i < knots_.size(); ++i) {
    const auto& high = knots_[i];
    if (relative_variance > high.variance) continue;
    return high.width + high.slope * (std::log(relative_variance) - high.log);
  }
  return knots_.back().width;
}

bool at_edge(const Setting& setting, const Sizes& sizes) {
  constexpr double kTileRows = 64;
  if (setting.regime == Regime::kSparse) return sizes.total() <= 2 * setting.topk;
  return setting.phase == perfdb::Phase::kGeneration && sizes.tokens() >= kTileRows;
}

}  // namespace dsaperf::predict::stages
