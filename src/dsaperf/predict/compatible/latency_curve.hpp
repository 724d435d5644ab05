#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace dsaperf::predict::compatible {

// Where an answer out of a table comes from.
enum class CurveRegion { kExact, kInside, kOutside, kModelled };

// Measured latency of one operator against one size, all else fixed, as AIConfigurator reads it:
// exact where a size was measured, linear between, and outside the measured range at the
// utilisation (bound / latency) of its end: the median over the `tail` nearest points.
//
// The first of two points of the same size counts. A curve may be empty; then nothing may be asked
// of it.
class LatencyCurve {
 public:
  struct Point {
    double size = 0;
    double ms = 0;
    bool is_modelled = false;  // no row says so
  };

  LatencyCurve() = default;
  // `points` in any order.
  static LatencyCurve from_points(std::vector<Point> points);
  // Of an operator without rows: no point is measured, and region() says so of every size.
  // `latency` gives milliseconds.
  template <typename Latency>
  static LatencyCurve modelled(const Latency& latency) {
    std::vector<Point> points;
    for (std::int64_t doubled = 1; doubled <= kLargestModelled; doubled *= 2) {
      const auto size = static_cast<double>(doubled);
      points.push_back({.size = size, .ms = latency(size)});
    }
    LatencyCurve curve = from_points(std::move(points));
    curve.is_modelled_ = true;
    return curve;
  }

  bool empty() const { return points_.empty(); }
  double smallest() const { return points_.front().size; }
  double largest() const { return points_.back().size; }
  bool covers(double size) const { return !empty() && smallest() <= size && size <= largest(); }
  CurveRegion region(double size) const;
  std::span<const Point> points() const { return points_; }

  // Linear inside; `bound` is asked only outside.
  template <typename Bound>
  double at(double size, std::size_t tail, const Bound& bound) const {
    if (covers(size)) return inside(size);
    return bound(size) / end_utilisation(size < smallest(), tail, bound);
  }

 private:
  double inside(double size) const;

  template <typename Bound>
  double end_utilisation(bool below, std::size_t tail, const Bound& bound) const {
    const std::size_t n = tail < points_.size() ? tail : points_.size();
    std::vector<double> utilisation;
    utilisation.reserve(n);
    for (std::size_t i = 0; i < n; ++i) {
      const Point& point = below ? points_[i] : points_[points_.size() - 1 - i];
      utilisation.push_back(bound(point.size) / point.ms);
    }
    return median(std::move(utilisation));
  }

  static double median(std::vector<double> values);

  static constexpr std::int64_t kLargestModelled = std::int64_t{1} << 30;  // tokens, elements

  std::vector<Point> points_;  // sorted by size, distinct
  bool is_modelled_ = false;
};

}  // namespace dsaperf::predict::compatible
