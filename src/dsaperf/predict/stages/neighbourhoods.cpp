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
constexpr double kFarAway = 1e9;  // of observations that a leaf does not have

// GCC and Clang make of it what the processor has.
using Four [[gnu::vector_size(4 * sizeof(double))]] = double;
constexpr std::size_t kVectors = kMost / 4;

// Rows of the whitening matrix, of which four vectors are worked on at a time: a band. Each is as
// long as its last row, and column follows column.
constexpr std::size_t kBand = 16;
constexpr std::size_t kBands = kMost / kBand;
constexpr std::size_t kWhitening = kBand * kBand * kBands * (kBands + 1) / 2;
static_assert(kMost % kBand == 0);

// Coordinates of observations, axis by axis.
using Columns = std::array<std::array<Four, kVectors>, kMaxCoordinates>;

std::size_t whitening_at(std::size_t row, std::size_t column) {
  const std::size_t band = row / kBand;
  return kBand * (kBand * band * (band + 1) / 2 + column) + row % kBand;
}

}  // namespace

// Columns, so that loops over the observations become vectors; unused ones lie far away and have
// no weight.
struct Neighbourhoods::Leaf {
  Columns x{};                                    // in lengths
  alignas(32) std::array<double, kMost> alpha{};  // covariance^-1 * observed
  std::array<Four, kWhitening / 4> whitening{};   // inverse of its Cholesky factor
};

void Neighbourhoods::LeafDeleter::operator()(Leaf* leaf) const {
  delete leaf;
}

namespace {

// By observation: squared distances, how much they agree, and Matern covariances with signal 1.
struct Row {
  alignas(Four) double squared[kMost];
  alignas(Four) double agree[kMost];
  alignas(Four) double plain[kMost];
};

// Of the first axes of the coordinates; the others are 0 everywhere.
template <std::size_t kAxes>
[[gnu::always_inline]] inline void distances(const Four* columns, const double* point,
                                             const double* step_squared, Row& row) {
  for (std::size_t j = 0; j < kVectors; ++j) {
    Four squared{};
    Four agree = {1, 1, 1, 1};
    for (std::size_t a = 0; a < kAxes; ++a) {
      const Four d = columns[a * kVectors + j] - point[a];
      squared += d * d;
      if (a < kStepAxes) agree += d == 0 ? Four{} + step_squared[a] : Four{};
    }
    __builtin_memcpy(&row.squared[4 * j], &squared, sizeof squared);
    __builtin_memcpy(&row.agree[4 * j], &agree, sizeof agree);
  }
}

DSAPERF_VECTOR_CLONES
void covariances(const Four* columns, const double* point, const double* step_squared,
                 std::size_t axes, Row& row) {
  if (axes <= 3)
    distances<3>(columns, point, step_squared, row);
  else
    distances<kMaxCoordinates>(columns, point, step_squared, row);
  for (std::size_t j = 0; j < kMost; ++j) row.plain[j] = matern52(row.squared[j]);
}

// |whitening * k|^2: how much of the variance the observations explain. A band's sums stay in
// registers.
DSAPERF_VECTOR_CLONES
double explained(const Four* whitening, const double* k) {
  Four squares{};
  for (std::size_t band = 0; band < kBands; ++band) {
    Four a{};
    Four b{};
    Four c{};
    Four d{};
    for (std::size_t j = 0; j < (band + 1) * kBand; ++j) {
      a += whitening[0] * k[j];
      b += whitening[1] * k[j];
      c += whitening[2] * k[j];
      d += whitening[3] * k[j];
      whitening += 4;
    }
    squares += a * a + b * b + c * c + d * d;
  }
  return (squares[0] + squares[1]) + (squares[2] + squares[3]);
}

}  // namespace

Neighbourhoods::Neighbourhoods(const NearestProcess& process) {
  const auto& hyper = process.hyper();
  for (std::size_t a = 0; a < kStepAxes; ++a) {
    step_squared_[a] = hyper.length[a] > 0 ? hyper.step[a] * hyper.step[a] : 0;
  }
  for (std::size_t a = 0; a < kMaxCoordinates; ++a) {
    if (hyper.length[a] > 0) axes_ = a + 1;
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
  for (auto& column : leaf.x) column.fill(Four{} + kFarAway);
  for (std::size_t i = 0; i < n; ++i) {
    y[static_cast<Eigen::Index>(i)] = process.observed()[on[i]];
    for (std::size_t a = 0; a < kMaxCoordinates; ++a)
      leaf.x[a][i / 4][i % 4] = process.scaled_at(on[i])[a];
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
      const auto at = whitening_at(i, j);
      leaf.whitening[at / 4][at % 4] =
          whitening(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j));
    }
  }
  return leaf;
}

Posterior Neighbourhoods::at(const NearestProcess& process, const Coordinates& point) const {
  const auto scaled = process.scaled(point);
  const auto& leaf = leaf_of(process, scaled);
  Row row;  // NOLINT(cppcoreguidelines-pro-type-member-init): written whole
  covariances(leaf.x[0].data(), scaled.data(), step_squared_.data(), axes_, row);
  const double signal = process.hyper().signal * process.hyper().signal;
  const double noise = process.hyper().noise * process.hyper().noise;
  alignas(32) std::array<double, kMost> k;  // NOLINT(cppcoreguidelines-pro-type-member-init)
  // Each sum waits for its own last addition alone.
  std::array<double, 4> mean{};
  for (std::size_t j = 0; j < kMost; j += mean.size()) {
    for (std::size_t i = 0; i < mean.size(); ++i) {
      k[j + i] = signal * row.agree[j + i] * row.plain[j + i];
      mean[i] += k[j + i] * leaf.alpha[j + i];
    }
  }
  const double unknown = process.prior_variance() - explained(leaf.whitening.data(), k.data());
  return {.mean = (mean[0] + mean[1]) + (mean[2] + mean[3]),
          .variance = std::max(unknown, 0.0) + noise};
}

Neighbourhoods::MeanParts Neighbourhoods::mean_parts(const NearestProcess& process,
                                                     const Coordinates& point) const {
  const auto scaled = process.scaled(point);
  const auto& leaf = leaf_of(process, scaled);
  Row row;  // NOLINT(cppcoreguidelines-pro-type-member-init): written whole
  covariances(leaf.x[0].data(), scaled.data(), step_squared_.data(), axes_, row);
  const double signal = process.hyper().signal * process.hyper().signal;
  MeanParts parts;
  for (std::size_t j = 0; j < kMost; ++j) {
    const double k = signal * row.plain[j] * leaf.alpha[j];
    parts.smooth += k;
    for (std::size_t a = 0; a < kStepAxes; ++a) {
      if (leaf.x[a][j / 4][j % 4] == scaled[a]) parts.step[a] += k * step_squared_[a];
    }
  }
  return parts;
}

}  // namespace dsaperf::predict::stages
