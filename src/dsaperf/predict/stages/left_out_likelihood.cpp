#include "dsaperf/predict/stages/left_out_likelihood.hpp"

#include "dsaperf/predict/stages/matern.hpp"
#include "dsaperf/predict/stages/vector_clones.hpp"

#include <Eigen/Cholesky>
#include <Eigen/Core>

#include <algorithm>
#include <cmath>

namespace dsaperf::predict::stages {
namespace {

constexpr double kStudent = 4;  // degrees of freedom
constexpr std::size_t kMost = LeftOutLikelihood::kMostOthers;

// One case in columns: coordinate by coordinate over its others, so that loops become vectors.
struct Columns {
  std::size_t count = 0;
  double x[kMaxCoordinates][kMost];  // NOLINT(modernize-avoid-c-arrays)
};

// Covariances of one point with the first `count` of the columns, in signal^2 = 1.
struct Row {
  double value[kMost];  // NOLINT(modernize-avoid-c-arrays): matern times the agreement
  double plain[kMost];  // NOLINT(modernize-avoid-c-arrays): matern
  double slope[kMost];  // NOLINT(modernize-avoid-c-arrays): d value / d log length, per u^2
};

DSAPERF_VECTOR_CLONES
void covariances(const Columns& columns, std::size_t count, const double* point, std::size_t axes,
                 const double* inverse_squared, std::size_t steps, const double* step_squared,
                 Row& row) {
  double squared[kMost];  // NOLINT(modernize-avoid-c-arrays)
  double agree[kMost];    // NOLINT(modernize-avoid-c-arrays)
  for (std::size_t j = 0; j < count; ++j) {
    squared[j] = 0;
    agree[j] = 1;
  }
  for (std::size_t a = 0; a < axes; ++a) {
    const double here = point[a];
    const double scale = inverse_squared[a];
    const double step = a < steps ? step_squared[a] : 0;
    for (std::size_t j = 0; j < count; ++j) {
      const double d = columns.x[a][j] - here;
      squared[j] += d * d * scale;
      agree[j] += d == 0 ? step : 0;
    }
  }
  for (std::size_t j = 0; j < count; ++j) {
    const double a = std::sqrt(5 * squared[j]);
    const double e = exp_minus(a);
    row.plain[j] = (1 + a + a * a / 3) * e;
    row.value[j] = row.plain[j] * agree[j];
    row.slope[j] = agree[j] * (5.0 / 3) * (1 + a) * e;
  }
}

}  // namespace

LeftOutLikelihood::LeftOutLikelihood(std::size_t axes, const std::vector<Coordinates>& at,
                                     const std::vector<double>& observed)
    : axes_(axes), steps_(std::min(axes, kStepAxes)), at_(at), observed_(observed) {
}

Hyperparameters LeftOutLikelihood::hyper_of(const std::vector<double>& x) const {
  Hyperparameters hyper;
  for (std::size_t a = 0; a < axes_; ++a) hyper.length[a] = std::exp(x[a]);
  hyper.signal = std::exp(x[signal_at()]);
  hyper.noise = std::exp(x[noise_at()]);
  for (std::size_t a = 0; a < steps_; ++a) hyper.step[a] = std::exp(x[steps_at() + a]);
  return hyper;
}

// With K the covariance of the others, k that with the point, y the others' values:
// mean = k a, a = K^-1 y; variance = k0 + noise^2 - k w, w = K^-1 k. Their derivatives need those
// of K and k alone, each weighted by products of a and w.
double LeftOutLikelihood::loss(const std::vector<double>& x, const std::vector<Case>& cases,
                               double weight, std::vector<double>& gradient) const {
  if (cases.empty()) return 0;
  using Matrix =
      Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor, kMost, kMost>;
  using Vector = Eigen::Matrix<double, Eigen::Dynamic, 1, 0, kMost, 1>;
  const auto hyper = hyper_of(x);
  const double signal = hyper.signal * hyper.signal;
  const double noise = hyper.noise * hyper.noise;
  Coordinates inverse{};
  for (std::size_t a = 0; a < axes_; ++a) inverse[a] = 1 / (hyper.length[a] * hyper.length[a]);
  std::array<double, kStepAxes> step{};
  double prior = signal;
  for (std::size_t a = 0; a < steps_; ++a) {
    step[a] = hyper.step[a] * hyper.step[a];
    prior += signal * step[a];
  }
  const double scale = weight / static_cast<double>(cases.size());
  double sum = 0;
  Columns columns;
  std::vector<Row> rows(kMost + 1);
  Matrix covariance;
  for (const auto& one : cases) {
    const std::size_t n = std::min(one.on.size(), kMost);
    if (n == 0) continue;
    const auto& observed = one.observed != nullptr ? *one.observed : observed_;
    Vector y(n);
    for (std::size_t j = 0; j < n; ++j) {
      for (std::size_t a = 0; a < axes_; ++a) columns.x[a][j] = at_[one.on[j]][a];
      y[static_cast<Eigen::Index>(j)] = observed[one.on[j]];
    }
    covariance.resize(static_cast<Eigen::Index>(n), static_cast<Eigen::Index>(n));
    for (std::size_t i = 0; i < n; ++i) {
      covariances(columns, i, at_[one.on[i]].data(), axes_, inverse.data(), steps_, step.data(),
                  rows[i]);
      auto* out = covariance.row(static_cast<Eigen::Index>(i)).data();
      for (std::size_t j = 0; j < i; ++j) out[j] = signal * rows[i].value[j];
      out[i] = prior + noise + 1e-12;
    }
    auto& last = rows[kMost];
    const auto& here = at_[one.index];
    covariances(columns, n, here.data(), axes_, inverse.data(), steps_, step.data(), last);
    Vector k(n);
    for (std::size_t j = 0; j < n; ++j) k[static_cast<Eigen::Index>(j)] = signal * last.value[j];
    const Eigen::LLT<Eigen::Ref<Matrix>> factor(covariance);
    const Vector alpha = factor.solve(y);
    const Vector w = factor.solve(k);
    const double mean = k.dot(alpha);
    const double variance = std::max(prior + noise - k.dot(w), 1e-10);
    const double error = observed[one.index] - mean;
    const double t = error * error / (kStudent * variance);
    sum += 0.5 * std::log(variance) + (kStudent + 1) / 2 * std::log1p(t);
    const double by_variance = scale * (0.5 - (kStudent + 1) / 2 * t / (1 + t)) / variance;
    const double by_mean = -scale * (kStudent + 1) * error / (kStudent * variance) / (1 + t);

    std::array<double, kMaxCoordinates> lengths{};
    std::array<double, kStepAxes> steps{};
    double by_signal = 0;
    double trace = 0;  // over the diagonal
    for (std::size_t i = 0; i < n; ++i) {
      const double wi = w[static_cast<Eigen::Index>(i)];
      const double ai = alpha[static_cast<Eigen::Index>(i)];
      trace += by_variance * wi * wi - by_mean * wi * ai;
      const double c = signal * (by_mean * ai - 2 * by_variance * wi);
      by_signal += c * last.value[i];
      for (std::size_t a = 0; a < axes_; ++a) {
        const double d = columns.x[a][i] - here[a];
        lengths[a] += c * last.slope[i] * d * d * inverse[a];
        if (a < steps_ && d == 0) steps[a] += c * last.plain[i];
      }
      std::array<double, kMost> g;  // NOLINT(cppcoreguidelines-pro-type-member-init)
      for (std::size_t j = 0; j < i; ++j) {
        const double wj = w[static_cast<Eigen::Index>(j)];
        const double aj = alpha[static_cast<Eigen::Index>(j)];
        g[j] = signal * (2 * by_variance * wi * wj - by_mean * (wi * aj + wj * ai));
        by_signal += g[j] * rows[i].value[j];
      }
      for (std::size_t a = 0; a < axes_; ++a) {
        const double own = columns.x[a][i];
        double length = 0;
        double agreeing = 0;
        for (std::size_t j = 0; j < i; ++j) {
          const double d = columns.x[a][j] - own;
          length += g[j] * rows[i].slope[j] * d * d;
          agreeing += d == 0 ? g[j] * rows[i].plain[j] : 0;
        }
        lengths[a] += length * inverse[a];
        if (a < steps_) steps[a] += agreeing;
      }
    }
    for (std::size_t a = 0; a < axes_; ++a) gradient[a] += lengths[a];
    gradient[signal_at()] += 2 * (by_signal + prior * (trace + by_variance));
    gradient[noise_at()] += 2 * noise * (trace + by_variance);
    for (std::size_t a = 0; a < steps_; ++a) {
      gradient[steps_at() + a] += 2 * step[a] * (steps[a] + signal * (trace + by_variance));
    }
  }
  return sum / static_cast<double>(cases.size());
}

}  // namespace dsaperf::predict::stages
