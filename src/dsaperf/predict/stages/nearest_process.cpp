#include "dsaperf/predict/stages/nearest_process.hpp"

#include "dsaperf/predict/stages/matern.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

constexpr double kJitter = 1e-12;

double squared_distance(const Coordinates& a, const Coordinates& b) {
  double sum = 0;
  for (std::size_t i = 0; i < kMaxCoordinates; ++i) {
    const double d = a[i] - b[i];
    sum += d * d;
  }
  return sum;
}

// About 1 / matern52, without the root and the exponential: it only orders.
double decay(double squared) {
  const double a = 5 * squared;
  return 1 + a / 6 + a * a / 24;
}

}  // namespace

NearestProcess::NearestProcess(std::vector<Coordinates> at, std::vector<double> observed,
                               Hyperparameters hyper, std::size_t neighbours)
    : at_(std::move(at)),
      observed_(std::move(observed)),
      hyper_(hyper),
      neighbours_(std::min(neighbours, kMaxNeighbours)) {
  double steps = 1;
  for (std::size_t a = 0; a < kStepAxes; ++a) {
    step_squared_[a] = hyper_.length[a] > 0 ? hyper_.step[a] * hyper_.step[a] : 0;
    steps += step_squared_[a];
  }
  prior_ = hyper_.signal * hyper_.signal * steps;
  scaled_.reserve(at_.size());
  for (const auto& point : at_) scaled_.push_back(scaled(point));
}

double NearestProcess::covariance(std::size_t i, std::size_t j) const {
  if (i == j) return prior_ + hyper_.noise * hyper_.noise + kJitter;
  const auto& a = scaled_[i];
  const auto& b = scaled_[j];
  return hyper_.signal * hyper_.signal * agreement(a, b) * matern52(squared_distance(a, b));
}

Coordinates NearestProcess::scaled(const Coordinates& point) const {
  Coordinates out{};
  for (std::size_t i = 0; i < kMaxCoordinates; ++i) {
    out[i] = hyper_.length[i] > 0 ? point[i] / hyper_.length[i] : 0;
  }
  return out;
}

std::vector<std::uint32_t> NearestProcess::nearest(const Coordinates& point, std::size_t count,
                                                   const LeftOut& left_out) const {
  const auto here = scaled(point);
  std::vector<std::pair<float, std::uint32_t>> found;
  found.reserve(scaled_.size());
  for (std::size_t i = 0; i < scaled_.size(); ++i) {
    if (left_out && left_out(i)) continue;
    const double squared = squared_distance(here, scaled_[i]);
    found.emplace_back(static_cast<float>(decay(squared) / agreement(here, scaled_[i])),
                       static_cast<std::uint32_t>(i));
  }
  count = std::min(count, found.size());
  std::partial_sort(found.begin(), found.begin() + static_cast<std::ptrdiff_t>(count), found.end());
  std::vector<std::uint32_t> indices(count);
  for (std::size_t i = 0; i < count; ++i) indices[i] = found[i].second;
  return indices;
}

Posterior NearestProcess::posterior(const Coordinates& point, const LeftOut& left_out) const {
  return conditioned(point, nearest(point, neighbours_, left_out));
}

Posterior NearestProcess::conditioned(const Coordinates& point,
                                      std::span<const std::uint32_t> on) const {
  return posterior(point, local({on.begin(), on.end()}));
}

// Cholesky, row by row, and the observations along with it.
NearestProcess::Local NearestProcess::local(std::vector<std::uint32_t> on) const {
  const double signal = hyper_.signal * hyper_.signal;
  const double noise = hyper_.noise * hyper_.noise;
  on.resize(std::min(on.size(), kMaxNeighbours));
  const std::size_t n = on.size();
  Local out{.on = std::move(on),
            .factor = std::vector<double>(n * (n + 1) / 2),
            .y_solved = std::vector<double>(n)};
  double* row = out.factor.data();
  for (std::size_t i = 0; i < n; ++i) {
    const auto& at = scaled_[out.on[i]];
    double diagonal = prior_ + noise + kJitter;
    double y = observed_[out.on[i]];
    const double* other = out.factor.data();
    for (std::size_t j = 0; j < i; ++j) {
      const auto& there = scaled_[out.on[j]];
      double value = signal * agreement(at, there) * matern52(squared_distance(at, there));
      for (std::size_t l = 0; l < j; ++l) value -= row[l] * other[l];
      value /= other[j];
      row[j] = value;
      diagonal -= value * value;
      y -= value * out.y_solved[j];
      other += j + 1;
    }
    row[i] = std::sqrt(std::max(diagonal, kJitter));
    out.y_solved[i] = y / row[i];
    row += i + 1;
  }
  return out;
}

// Two forward substitutions suffice: mean = (L^-1 k)^T (L^-1 y), variance = signal - |L^-1 k|^2.
Posterior NearestProcess::posterior(const Coordinates& point, const Local& local) const {
  const double signal = hyper_.signal * hyper_.signal;
  const double noise = hyper_.noise * hyper_.noise;
  const std::size_t n = local.on.size();
  if (n == 0) return {.mean = 0, .variance = prior_ + noise};
  const auto here = scaled(point);
  std::array<double, kMaxNeighbours> k{};
  double mean = 0;
  double explained = 0;
  const double* row = local.factor.data();
  for (std::size_t i = 0; i < n; ++i) {
    const auto& there = scaled_[local.on[i]];
    double value = signal * agreement(here, there) * matern52(squared_distance(here, there));
    for (std::size_t j = 0; j < i; ++j) value -= row[j] * k[j];
    value /= row[i];
    k[i] = value;
    mean += value * local.y_solved[i];
    explained += value * value;
    row += i + 1;
  }
  return {.mean = mean, .variance = std::max(prior_ - explained, 0.0) + noise};
}

}  // namespace dsaperf::predict::stages
