#pragma once

#include "dsaperf/predict/stages/part_grid.hpp"
#include "dsaperf/predict/stages/setting.hpp"

#include <array>

namespace dsaperf::predict::stages {

// How wide an interval must be, in posterior standard deviations, so that 9 of 10 left-out
// measurements lie in it.
struct Calibration {
  struct Knot {
    double variance = 0.1, width = 1.645;
  };
  struct Sort {
    // Where each axis has a value that was measured, by the relative variance of the posterior:
    // measured where it is small and where it is large among single left-out points, and among
    // points left out with a slice. Between knots by the logarithm of the variance, beyond them
    // constant.
    std::array<Knot, 3> knots{};  // by rising variance
    // Where the value of an axis was not: how wrong the process is about its own certainty differs
    // from axis to axis (heads step with kernels' tiles, lengths are smooth).
    std::array<double, kSizeAxes> between = {1.645, 1.645, 1.645, 1.645};
  };
  Sort body{};
  // Of a part's edge: what the process, as smooth everywhere, learns of the body makes it too sure
  // there.
  Sort edge{};
};

// The widths of one sort of points, the knots' logarithms computed once.
class Widths {
 public:
  explicit Widths(const Calibration::Sort& sort);
  // Of several unmeasured axes the widest counts.
  double at(double relative_variance, const Unmeasured& unmeasured) const;

 private:
  struct Knot {
    double variance = 0, log = 0, width = 0;
    double slope = 0;  // of the width over the logarithm, from the knot before
  };
  std::array<Knot, 3> knots_{};
  std::array<double, kSizeAxes> between_;
};

// Where latencies are less smooth than in the rest of a part: in the first octave beyond topk,
// where kernels change; in decode up to topk from a tile of 64 tokens on, where what grows with
// them, in tiles and waves, begins to outweigh the launches.
bool at_edge(const Setting& setting, const Sizes& sizes);

}  // namespace dsaperf::predict::stages
