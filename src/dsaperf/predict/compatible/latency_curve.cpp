#include "dsaperf/predict/compatible/latency_curve.hpp"

#include <algorithm>

namespace dsaperf::predict::compatible {

LatencyCurve LatencyCurve::from_points(std::vector<Point> points) {
  std::stable_sort(points.begin(), points.end(),
                   [](const Point& a, const Point& b) { return a.size < b.size; });
  points.erase(std::unique(points.begin(), points.end(),
                           [](const Point& a, const Point& b) { return a.size == b.size; }),
               points.end());
  LatencyCurve curve;
  curve.points_ = std::move(points);
  return curve;
}

CurveRegion LatencyCurve::region(double size) const {
  if (is_modelled_) return CurveRegion::kModelled;
  if (!covers(size)) return CurveRegion::kOutside;
  const auto at =
      std::lower_bound(points_.begin(), points_.end(), size,
                       [](const Point& point, double value) { return point.size < value; });
  const bool is_exact = at->size == size;
  if (at->is_modelled || (!is_exact && std::prev(at)->is_modelled)) return CurveRegion::kModelled;
  return is_exact ? CurveRegion::kExact : CurveRegion::kInside;
}

double LatencyCurve::inside(double size) const {
  const auto above =
      std::lower_bound(points_.begin(), points_.end(), size,
                       [](const Point& point, double value) { return point.size < value; });
  if (above->size == size) return above->ms;
  const auto below = std::prev(above);
  return below->ms + (above->ms - below->ms) * (size - below->size) / (above->size - below->size);
}

double LatencyCurve::median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace dsaperf::predict::compatible
