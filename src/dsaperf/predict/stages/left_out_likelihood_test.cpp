#include "dsaperf/predict/stages/left_out_likelihood.hpp"

#include "dsaperf/predict/stages/matern.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace dsaperf::predict::stages {
namespace {

TEST(ExpMinusTest, AgreesWithTheLibraryTo1e12) {
  for (double x = 0; x < 600; x += 0.0137) {
    EXPECT_NEAR(exp_minus(x) / std::exp(-x), 1, 1e-12) << x;
  }
}

// The gradient against central differences of the loss: their error is the step squared times the
// third derivative, far below 1e-5 of the slope here, and rounding, 1e-16 / step.
TEST(LeftOutLikelihoodTest, ItsGradientIsThatOfTheLoss) {
  std::mt19937_64 random(7);
  std::vector<Coordinates> at;
  std::vector<double> observed;
  for (int i = 0; i < 60; ++i) {
    const double a = static_cast<double>(random() % 4);
    const double b = static_cast<double>(random() % 5);
    const double c = static_cast<double>(random() % 7);
    at.push_back({a, b, c});
    observed.push_back(0.1 * std::sin(a) + 0.05 * b * c +
                       0.01 * static_cast<double>(random() % 10));
  }
  const LeftOutLikelihood likelihood(3, at, observed);
  auto others = observed;  // of cases that bring their own
  for (std::size_t i = 0; i < others.size(); ++i) others[i] += 0.02 * std::cos(at[i][0]);
  std::vector<LeftOutLikelihood::Case> cases;
  for (std::size_t i = 0; i < 10; ++i) {
    cases.push_back({.index = i, .on = {}});
    for (std::uint32_t j = 20; j < 50; ++j) cases.back().on.push_back(j);
    if (i % 2 == 1) cases.back().observed = &others;
  }
  std::vector<double> x(likelihood.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = -1.5 + 0.2 * static_cast<double>(i);
  std::vector<double> gradient(x.size(), 0);
  std::vector<double> ignored(x.size(), 0);
  likelihood.loss(x, cases, 1, gradient);
  constexpr double kStep = 1e-5;
  for (std::size_t i = 0; i < x.size(); ++i) {
    auto more = x;
    auto less = x;
    more[i] += kStep;
    less[i] -= kStep;
    const double slope =
        (likelihood.loss(more, cases, 1, ignored) - likelihood.loss(less, cases, 1, ignored)) /
        (2 * kStep);
    EXPECT_NEAR(gradient[i], slope, 1e-5 * std::max(std::abs(slope), 1.0)) << i;
  }
}

}  // namespace
}  // namespace dsaperf::predict::stages
