#pragma once

#include "dsaperf/predict/stages/nearest_process.hpp"
#include "dsaperf/predict/stages/terms.hpp"

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace dsaperf::predict::stages {

// For each axis, whether a pass has a value of it that no row has.
using Unmeasured = std::array<bool, kSizeAxes>;

// The rows of a part as a grid over heads, batch, new and past: which row is where, and the cell of
// rows around a point. Tables are nearly full grids; values that few rows have (ceilings that
// differ with the new tokens) are no lines of it, so that cells stay whole.
class PartGrid {
 public:
  static constexpr std::size_t kAxes = kSizeAxes;
  static constexpr std::size_t kMostCorners = 16;

  explicit PartGrid(std::span<const Sizes> rows);

  // The rows around a point. Along an axis where it has a line's own value that line alone counts.
  struct Cell {
    std::size_t corners;  // in use
    std::array<std::uint32_t, kMostCorners> row;
    std::array<double, kMostCorners> weight;  // multilinear in log2; their sum is 1
    Unmeasured off_line;
    struct Between {
      std::size_t axis;
      std::size_t interval;
      double bend;  // 4 t (1 - t): 1 in the middle between two lines
    };
    std::size_t betweens;  // in use: of the axes that are off line
    std::array<Between, kAxes> between;
  };
  // False where the point lies outside or a corner is missing.
  bool cell(const Sizes& sizes, Cell& out) const;

  Unmeasured unmeasured(const Sizes& sizes) const;

  // Lines of an axis, ascending.
  std::span<const double> lines(std::size_t axis) const { return axes_[axis].lines; }

 private:
  struct Interval {
    double log = 0;         // of its lower line
    double per_octave = 0;  // share of the interval
  };
  struct Axis {
    std::vector<double> lines;
    std::vector<Interval> intervals;  // between them
    // By the exponent of a value: the last line that is not above any value of that exponent, 0
    // where there is none. Few lines follow within an octave.
    std::array<std::uint16_t, 32> from{};
    std::size_t stride = 0;
  };
  std::array<std::vector<double>, kAxes> values_;  // all of an axis, ascending
  std::array<Axis, kAxes> axes_;
  std::vector<std::int32_t> rows_;  // -1: none
};

}  // namespace dsaperf::predict::stages
