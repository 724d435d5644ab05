#pragma once

#include "dsaperf/core/units.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace dsaperf::predict::compatible {

inline constexpr std::size_t kMaxAxes = 4;
using Point = std::array<double, kMaxAxes>;  // unused axes are 0

// The bound (speed of light) at a point, in any unit: only its ratio between two points counts.
class Bound {
 public:
  virtual ~Bound() = default;
  virtual double at(const Point& point) const = 0;
};

// How an answer came about, from the best to the weakest.
enum class Found { kExact, kInterior, kHeld };

struct GridAnswer {
  double latency = 0;
  Found found = Found::kExact;
};

// A table interpolated as aiconfigurator does (docs/predict.md, "Compatible"): measured latencies
// on a grid of 1 to 4 axes that need not be full.
//
//   on the grid      the measurement itself
//   inside           linear between the bracketing values of each axis in turn; where one side
//                    has no row at the point, the other one, scaled by the ratio of the bounds
//   outside          held: the bound divided by the utilisation (bound / latency) of the
//                    nearest rows in log2 of the coordinates; of 1 axis the last row, of more
//                    the 4 nearest, weighted so that the answer is continuous
class LatencyGrid {
 public:
  struct Sample {
    std::array<std::int64_t, kMaxAxes> at{};  // unused axes are 0
    double latency = 0;
  };

  // Of equal points the last sample counts. `square_root_axis`: the axis blended by square root, if
  // any. The bound must outlive the grid's queries.
  LatencyGrid(std::size_t axes, std::vector<Sample> samples, std::shared_ptr<const Bound> bound,
              std::optional<std::size_t> square_root_axis = {});
  LatencyGrid(LatencyGrid&&) noexcept;
  LatencyGrid& operator=(LatencyGrid&&) noexcept;
  ~LatencyGrid();

  bool empty() const { return latencies_.empty(); }
  std::size_t size() const { return latencies_.size(); }
  const Bound& bound() const { return *bound_; }

  // Empty where nothing can answer: no row with a positive latency and bound.
  std::optional<GridAnswer> at(const Point& point) const;

 private:
  struct Inside;
  struct Neighbours;

  std::optional<Inside> inside(const Point& point, std::size_t axis, std::uint32_t begin,
                               std::uint32_t end) const;
  std::optional<double> held(const Point& point) const;

  std::size_t axes_;
  std::shared_ptr<const Bound> bound_;
  std::optional<std::size_t> square_root_axis_;
  // A tree of sorted keys, one level an axis: key i of level a has the keys first_[a][i] ..
  // first_[a][i + 1] of level a + 1 below it. Keys of the last level and latencies correspond.
  std::array<std::vector<std::int64_t>, kMaxAxes> keys_;
  std::array<std::vector<std::uint32_t>, kMaxAxes> first_;
  std::vector<double> latencies_;
  std::unique_ptr<Neighbours> neighbours_;
};

}  // namespace dsaperf::predict::compatible
