#include "dsaperf/predict/compatible/latency_grid.hpp"

#include <nanoflann.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

namespace dsaperf::predict::compatible {
namespace {

constexpr std::size_t kNearest = 4;
constexpr double kTiny = 1e-12;

double log2_of(double coordinate) {
  return std::log2(std::max(coordinate, kTiny));
}

}  // namespace

struct LatencyGrid::Inside {
  double latency = 0;
  bool exact = true;
};

// Rows that can be held, with the utilisation of each; made at the first query outside the grid.
struct LatencyGrid::Neighbours {
  std::size_t axes = 0;
  std::vector<Point> at;  // log2 of the coordinates
  std::vector<double> utilisation;

  // What nanoflann asks of a set of points.
  std::size_t kdtree_get_point_count() const { return at.size(); }
  double kdtree_get_pt(std::size_t index, std::size_t axis) const { return at[index][axis]; }
  template <typename Box>
  bool kdtree_get_bbox(Box&) const {
    return false;
  }
  using Tree = nanoflann::KDTreeSingleIndexAdaptor<nanoflann::L2_Simple_Adaptor<double, Neighbours>,
                                                   Neighbours, -1, std::uint32_t>;
  std::unique_ptr<Tree> tree;
  std::once_flag once;
};

LatencyGrid::LatencyGrid(std::size_t axes, std::vector<Sample> samples,
                         std::shared_ptr<const Bound> bound,
                         std::optional<std::size_t> square_root_axis)
    : axes_(axes),
      bound_(std::move(bound)),
      square_root_axis_(square_root_axis),
      neighbours_(std::make_unique<Neighbours>()) {
  std::stable_sort(samples.begin(), samples.end(),
                   [](const Sample& a, const Sample& b) { return a.at < b.at; });
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const auto& sample = samples[i];
    std::size_t changed = 0;  // first axis on which this sample leaves the last one's path
    if (i > 0) {
      while (changed < axes_ && samples[i - 1].at[changed] == sample.at[changed]) ++changed;
      if (changed == axes_) {
        latencies_.back() = sample.latency;
        continue;
      }
    }
    for (std::size_t a = changed; a < axes_; ++a) {
      keys_[a].push_back(sample.at[a]);
      if (a + 1 < axes_) first_[a].push_back(static_cast<std::uint32_t>(keys_[a + 1].size()));
    }
    latencies_.push_back(sample.latency);
  }
  for (std::size_t a = 0; a + 1 < axes_; ++a) {
    first_[a].push_back(static_cast<std::uint32_t>(keys_[a + 1].size()));
  }
}

LatencyGrid::LatencyGrid(LatencyGrid&&) noexcept = default;
LatencyGrid& LatencyGrid::operator=(LatencyGrid&&) noexcept = default;
LatencyGrid::~LatencyGrid() = default;

std::optional<GridAnswer> LatencyGrid::at(const Point& point) const {
  if (latencies_.empty()) return std::nullopt;
  if (const auto found = inside(point, 0, 0, static_cast<std::uint32_t>(keys_[0].size()))) {
    return GridAnswer{.latency = found->latency,
                      .found = found->exact ? Found::kExact : Found::kInterior};
  }
  const auto latency = held(point);
  if (!latency) return std::nullopt;
  return GridAnswer{.latency = *latency, .found = Found::kHeld};
}

std::optional<LatencyGrid::Inside> LatencyGrid::inside(const Point& point, std::size_t axis,
                                                       std::uint32_t begin,
                                                       std::uint32_t end) const {
  const auto& keys = keys_[axis];
  const double wanted = point[axis];
  const auto upper = std::lower_bound(
      keys.begin() + begin, keys.begin() + end, wanted,
      [](std::int64_t key, double value) { return static_cast<double>(key) < value; });
  const auto below = [&](std::uint32_t index) -> std::optional<Inside> {
    if (axis + 1 == axes_) return Inside{.latency = latencies_[index], .exact = true};
    return inside(point, axis + 1, first_[axis][index], first_[axis][index + 1]);
  };
  if (upper == keys.begin() + end) return std::nullopt;
  const auto high = static_cast<std::uint32_t>(upper - keys.begin());
  const auto high_key = static_cast<double>(*upper);
  if (high_key == wanted) return below(high);
  if (high == begin) return std::nullopt;
  const auto low_key = static_cast<double>(keys[high - 1]);
  const auto at_low = below(high - 1);
  const auto at_high = below(high);
  if (at_low && at_high) {
    const double t = (wanted - low_key) / (high_key - low_key);
    if (square_root_axis_ == axis) {
      const double root = std::sqrt(at_low->latency) +
                          (std::sqrt(at_high->latency) - std::sqrt(at_low->latency)) * t;
      return Inside{.latency = root * root, .exact = false};
    }
    return Inside{.latency = at_low->latency + (at_high->latency - at_low->latency) * t,
                  .exact = false};
  }
  if (!at_low && !at_high) return std::nullopt;
  Point survivor = point;
  survivor[axis] = at_low ? low_key : high_key;
  const double there = bound_->at(survivor);
  if (!(there > 0)) return std::nullopt;
  return Inside{.latency = (at_low ? at_low : at_high)->latency * (bound_->at(point) / there),
                .exact = false};
}

std::optional<double> LatencyGrid::held(const Point& point) const {
  const double here = bound_->at(point);
  if (axes_ == 1) {
    const std::size_t end =
        point[0] < static_cast<double>(keys_[0].front()) ? 0 : keys_[0].size() - 1;
    const double there = bound_->at({static_cast<double>(keys_[0][end])});
    if (!(there > 0)) return std::nullopt;
    return latencies_[end] * (here / there);
  }
  auto& near = *neighbours_;
  std::call_once(near.once, [&] {
    std::array<std::size_t, kMaxAxes> index{};
    for (std::size_t leaf = 0; leaf < latencies_.size(); ++leaf) {
      index[axes_ - 1] = leaf;
      for (std::size_t a = axes_ - 1; a-- > 0;) {
        while (first_[a][index[a] + 1] <= index[a + 1]) ++index[a];
      }
      Point at{};
      Point logs{};
      for (std::size_t a = 0; a < axes_; ++a) {
        at[a] = static_cast<double>(keys_[a][index[a]]);
        logs[a] = log2_of(at[a]);
      }
      const double there = bound_->at(at);
      if (!(latencies_[leaf] > 0) || !(there > 0)) continue;
      near.at.push_back(logs);
      near.utilisation.push_back(there / latencies_[leaf]);
    }
    near.tree = std::make_unique<Neighbours::Tree>(static_cast<int>(axes_), near);
    near.tree->buildIndex();
  });
  if (near.at.empty()) return std::nullopt;

  Point logs{};
  for (std::size_t a = 0; a < axes_; ++a) logs[a] = log2_of(point[a]);
  std::array<std::uint32_t, kNearest + 1> index{};
  std::array<double, kNearest + 1> squared{};
  nanoflann::KNNResultSet<double, std::uint32_t> found(kNearest + 1);
  found.init(index.data(), squared.data());
  near.tree->findNeighbors(found, logs.data(), nanoflann::SearchParams());
  const std::size_t count = std::min(found.size(), kNearest);
  const double reach = found.size() > kNearest ? std::sqrt(squared[kNearest])
                                               : std::numeric_limits<double>::infinity();
  double weights = 0;
  double utilisation = 0;
  double plain = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const double distance = std::sqrt(squared[i]);
    double weight = 0;
    if (std::isinf(reach)) {
      weight = 1 / (squared[i] + kTiny);
    } else {
      const double taper = std::max(reach - distance, 0.0) / (reach * distance + kTiny);
      weight = taper * taper;
    }
    weights += weight;
    utilisation += weight * near.utilisation[index[i]];
    plain += near.utilisation[index[i]];
  }
  const double mean = weights > 0 ? utilisation / weights : plain / static_cast<double>(count);
  return here / mean;
}

}  // namespace dsaperf::predict::compatible
