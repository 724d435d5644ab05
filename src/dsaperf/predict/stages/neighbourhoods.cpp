#include "dsaperf/predict/stages/neighbourhoods.hpp"

#include "dsaperf/predict/stages/matern.hpp"
#include "dsaperf/predict/stages/vector_clones.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dsaperf::predict::stages {
namespace {

constexpr std::size_t kMost = Neighbourhoods::kMost;

}  // namespace

// Columns, so that loops over the observations become vectors; unused ones lie far away and have
// no weight.
struct Neighbourhoods::Leaf {
  std::array<std::array<double, kMost>, kMaxCoordinates> x{};  // in lengths
  std::array<double, kMost> alpha{};                           // covariance^-1 * observed
  std::array<double, kMost * kMost> whitening{};  // inverse of its Cholesky factor, by columns
  std::array<std::uint32_t, kMost> on{};
};

void Neighbourhoods::LeafDeleter::operator()(Leaf* leaf) const {
  delete leaf;
}

namespace {

// Matern covariances with signal 1, how much they agree, and squared distances.
struct Row {
  alignas(32) std::array<double, kMost> squared;
  alignas(32) std::array<double, kMost> agree;
  alignas(32) std::array<double, kMost> plain;
};

DSAPERF_VECTOR_CLONES
void covariances(const double* columns, const double* point, const double* step_squared, Row& row) {
  for (std::size_t j = 0; j < kMost; ++j) {
    row.squared[j] = 0;
    row.agree[j] = 1;
  }
  for (std::size_t a = 0; a < kMaxCoordinates; ++a) {
    const double* x = columns + a * kMost;
    const double here = point[a];
    const double step = a < kStepAxes ? step_squared[a] : 0;
    for (std::size_t j = 0; j < kMost; ++j) {
      const double d = x[j] - here;
      row.squared[j] += d * d;
      row.agree[j] += d == 0 ? step : 0;
    }
  }
  for (std::size_t j = 0; j < kMost; ++j) row.plain[j] = matern52(row.squared[j]);
}

// |whitening * k|^2: how much of the variance the observations explain.
DSAPERF_VECTOR_CLONES
double explained(const double* whitening, const double* k) {
  alignas(32) std::array<double, kMost> v{};
  for (std::size_t j = 0; j < kMost; ++j) {
    const double* column = whitening + j * kMost;
    const double scale = k[j];
    // From the vector that holds the diagonal; above it the factor is zero.
    for (std::size_t i = j & ~std::size_t{7}; i < kMost; ++i) v[i] += column[i] * scale;
  }
  double sum = 0;
  for (std::size_t i = 0; i < kMost; ++i) sum += v[i] * v[i];
  return sum;
}

}  // namespace

Neighbourhoods::Neighbourhoods(const NearestProcess& process) {
  const auto& hyper = process.hyper();
  for (std::size_t a = 0; a < kStepAxes; ++a) {
    step_squared_[a] = hyper.length[a] > 0 ? hyper.step[a] * hyper.step[a] : 0;
  }
  std::vector<std::uint32_t> order(process.size());
  std::iota(order.begin(), order.end(), 0U);
  nodes_.emplace_back();
  divide(process, 0, order.data(), order.data() + order.size());
  leaves_.resize(centres_.size());
}

void Neighbourhoods::divide(const NearestProcess& process, std::uint32_t node, std::uint32_t* begin,
                            std::uint32_t* end) {
  Coordinates low;
  Coordinates high;
  Coordinates centre{};
  low.fill(INFINITY);
  high.fill(-INFINITY);
  for (const auto* i = begin; i != end; ++i) {
    const auto& x = process.scaled_at(*i);
    for (std::size_t a = 0; a < kMaxCoordinates; ++a) {
      low[a] = std::min(low[a], x[a]);
      high[a] = std::max(high[a], x[a]);
      centre[a] += x[a] / static_cast<double>(end - begin);
    }
  }
  std::size_t axis = 0;
  for (std::size_t a = 1; a < kMaxCoordinates; ++a) {
    if (high[a] - low[a] > high[axis] - low[axis]) axis = a;
  }
  const auto value = [&](std::uint32_t i) { return process.scaled_at(i)[axis]; };
  std::uint32_t* middle = begin;
  if (static_cast<std::size_t>(end - begin) > kLeaf && high[axis] > low[axis]) {
    // A cut through a value would part equal ones: it lies between two values, nearest the median.
    std::sort(begin, end, [&](auto a, auto b) { return value(a) < value(b); });
    std::uint32_t* half = begin + (end - begin) / 2;
    const auto* const up = std::upper_bound(
        half, end, value(*half), [&](double v, std::uint32_t i) { return v < value(i); });
    const auto* const down = std::lower_bound(
        begin, half, value(*half), [&](std::uint32_t i, double v) { return value(i) < v; });
    middle = begin +
             ((up - half <= half - down && up != end) || down == begin ? up - begin : down - begin);
  }
  if (middle == begin || middle == end) {
    nodes_[node].leaf = static_cast<std::uint32_t>(centres_.size());
    centres_.push_back(centre);
    return;
  }
  const auto children = static_cast<std::uint32_t>(nodes_.size());
  nodes_[node].axis = static_cast<std::uint32_t>(axis);
  nodes_[node].split = (value(*(middle - 1)) + value(*middle)) / 2;
  nodes_[node].children = children;
  nodes_.resize(nodes_.size() + 2);
  divide(process, children, begin, middle);
  divide(process, children + 1, middle, end);
}

const Neighbourhoods::Leaf& Neighbourhoods::leaf_of(const NearestProcess& process,
                                                    const Coordinates& scaled) const {
  std::uint32_t node = 0;
  while (nodes_[node].children != 0) {
    const auto& n = nodes_[node];
    node = n.children + (scaled[n.axis] < n.split ? 0 : 1);
  }
  auto& pointer = leaves_[nodes_[node].leaf];
  if (pointer) return *pointer;
  pointer.reset(new Leaf);
  auto& leaf = *pointer;
  Coordinates centre = centres_[nodes_[node].leaf];
  for (std::size_t a = 0; a < kMaxCoordinates; ++a) centre[a] *= process.hyper().length[a];
  const auto on = process.nearest(centre, kMost, {});
  const std::size_t n = on.size();
  using Matrix = Eigen::MatrixXd;
  Matrix covariance(static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(n));
  Eigen::VectorXd y(static_cast<Eigen::Index>(n));
  for (auto& column : leaf.x) column.fill(1e9);
  for (std::size_t i = 0; i < n; ++i) {
    leaf.on[i] = on[i];
    y[static_cast<Eigen::Index>(i)] = process.observed()[on[i]];
    for (std::size_t a = 0; a < kMaxCoordinates; ++a) leaf.x[a][i] = process.scaled_at(on[i])[a];
    for (std::size_t j = 0; j <= i; ++j) {
      covariance(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) =
          process.covariance(on[i], on[j]);
    }
  }
  const Eigen::LLT<Matrix> factor(covariance);
  const Eigen::VectorXd alpha = factor.solve(y);
  const Matrix whitening = factor.matrixL().solve(
      Matrix::Identity(static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(n)));
  for (std::size_t j = 0; j < n; ++j) {
    leaf.alpha[j] = alpha[static_cast<Eigen::Index>(j)];
    for (std::size_t i = j; i < n; ++i) {
      leaf.whitening[j * kMost + i] =
          whitening(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j));
    }
  }
  return leaf;
}

Posterior Neighbourhoods::at(const NearestProcess& process, const Coordinates& point) const {
  const auto scaled = process.scaled(point);
  const auto& leaf = leaf_of(process, scaled);
  Row row;  // NOLINT(cppcoreguidelines-pro-type-member-init): written whole
  covariances(leaf.x[0].data(), scaled.data(), step_squared_.data(), row);
  const double signal = process.hyper().signal * process.hyper().signal;
  const double noise = process.hyper().noise * process.hyper().noise;
  alignas(32) std::array<double, kMost> k;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  double mean = 0;
  std::size_t nearest = 0;
  for (std::size_t j = 0; j < kMost; ++j) {
    k[j] = signal * row.agree[j] * row.plain[j];
    mean += k[j] * leaf.alpha[j];
    if (row.squared[j] < row.squared[nearest]) nearest = j;
  }
  const double prior = process.prior_variance();
  return {.mean = mean,
          .variance = std::max(prior - explained(leaf.whitening.data(), k.data()), 0.0) + noise,
          .nearest = leaf.on[nearest],
          .distance = std::sqrt(row.squared[nearest])};
}

Neighbourhoods::MeanParts Neighbourhoods::mean_parts(const NearestProcess& process,
                                                     const Coordinates& point) const {
  const auto scaled = process.scaled(point);
  const auto& leaf = leaf_of(process, scaled);
  Row row;  // NOLINT(cppcoreguidelines-pro-type-member-init): written whole
  covariances(leaf.x[0].data(), scaled.data(), step_squared_.data(), row);
  const double signal = process.hyper().signal * process.hyper().signal;
  MeanParts parts;
  for (std::size_t j = 0; j < kMost; ++j) {
    const double k = signal * row.plain[j] * leaf.alpha[j];
    parts.smooth += k;
    for (std::size_t a = 0; a < kStepAxes; ++a) {
      if (leaf.x[a][j] == scaled[a]) parts.step[a] += k * step_squared_[a];
    }
  }
  return parts;
}

}  // namespace dsaperf::predict::stages
