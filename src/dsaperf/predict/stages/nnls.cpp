#include "dsaperf/predict/stages/nnls.hpp"

#include <Eigen/Dense>

#include <limits>
#include <vector>

namespace dsaperf::predict::stages {

Eigen::VectorXd non_negative_least_squares(const Eigen::MatrixXd& gram,
                                           const Eigen::VectorXd& moment) {
  const Eigen::Index n = moment.size();
  // Columns of unit length: their units differ by orders of magnitude.
  Eigen::VectorXd scale = gram.diagonal().cwiseSqrt();
  for (Eigen::Index i = 0; i < n; ++i) scale[i] = scale[i] > 0 ? 1 / scale[i] : 0;
  const Eigen::MatrixXd g = scale.asDiagonal() * gram * scale.asDiagonal();
  const Eigen::VectorXd m = scale.cwiseProduct(moment);
  constexpr double kTolerance = 1e-10;
  constexpr double kRidge = 1e-9;

  Eigen::VectorXd x = Eigen::VectorXd::Zero(n);
  std::vector<Eigen::Index> passive;
  std::vector<bool> is_passive(static_cast<std::size_t>(n), false);
  const auto solve = [&] {
    const auto count = static_cast<Eigen::Index>(passive.size());
    Eigen::MatrixXd part(count, count);
    Eigen::VectorXd right(count);
    for (Eigen::Index i = 0; i < count; ++i) {
      right[i] = m[passive[static_cast<std::size_t>(i)]];
      for (Eigen::Index j = 0; j < count; ++j) {
        part(i, j) = g(passive[static_cast<std::size_t>(i)], passive[static_cast<std::size_t>(j)]);
      }
      part(i, i) += kRidge;
    }
    return Eigen::VectorXd(part.ldlt().solve(right));
  };
  for (int round = 0; round < 3 * n; ++round) {
    const Eigen::VectorXd gradient = m - g * x;
    Eigen::Index best = -1;
    for (Eigen::Index i = 0; i < n; ++i) {
      if (is_passive[static_cast<std::size_t>(i)] || scale[i] == 0) continue;
      if (gradient[i] > kTolerance && (best < 0 || gradient[i] > gradient[best])) best = i;
    }
    if (best < 0) break;
    is_passive[static_cast<std::size_t>(best)] = true;
    passive.push_back(best);
    while (!passive.empty()) {
      const Eigen::VectorXd z = solve();
      double step = 1;
      for (std::size_t i = 0; i < passive.size(); ++i) {
        const double from = x[passive[i]];
        const double to = z[static_cast<Eigen::Index>(i)];
        if (to <= 0) step = std::min(step, from / (from - to + std::numeric_limits<double>::min()));
      }
      for (std::size_t i = 0; i < passive.size(); ++i) {
        x[passive[i]] += step * (z[static_cast<Eigen::Index>(i)] - x[passive[i]]);
      }
      if (step >= 1) break;
      std::erase_if(passive, [&](Eigen::Index i) {
        if (x[i] > kTolerance) return false;
        x[i] = 0;
        is_passive[static_cast<std::size_t>(i)] = false;
        return true;
      });
    }
  }
  return scale.cwiseProduct(x);
}

}  // namespace dsaperf::predict::stages
