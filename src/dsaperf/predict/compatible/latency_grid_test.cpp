#include "dsaperf/predict/compatible/latency_grid.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace dsaperf::predict::compatible {
namespace {

// latency = bound / utilisation is what holding assumes.
class ProductBound final : public Bound {
 public:
  double at(const Point& p) const override { return p[0] * (p[1] > 0 ? p[1] : 1); }
};

LatencyGrid plane() {
  std::vector<LatencyGrid::Sample> samples;
  for (const std::int64_t x : {1, 2, 4}) {
    for (const std::int64_t y : {8, 16}) {
      samples.push_back({.at = {x, y}, .latency = static_cast<double>(10 * x + y)});
    }
  }
  return {2, samples, std::make_shared<ProductBound>()};
}

TEST(LatencyGridTest, PassesThroughItsSamples) {
  const auto grid = plane();
  const auto found = grid.at({2, 16});
  EXPECT_EQ(found->found, Found::kExact);
  EXPECT_EQ(found->latency, 36);
}

TEST(LatencyGridTest, IsLinearInside) {
  const auto found = plane().at({3, 12});
  EXPECT_EQ(found->found, Found::kInterior);
  EXPECT_DOUBLE_EQ(found->latency, 42);
}

TEST(LatencyGridTest, ScalesTheSideThatHasARowByTheBound) {
  std::vector<LatencyGrid::Sample> samples = {
      {.at = {1, 8}, .latency = 1}, {.at = {1, 32}, .latency = 3}, {.at = {4, 8}, .latency = 9}};
  const LatencyGrid grid(2, samples, std::make_shared<ProductBound>());
  // At x = 4 nothing reaches y = 20; x = 1 gives 2, twice the bound.
  EXPECT_DOUBLE_EQ(grid.at({2, 20})->latency, 4);
}

TEST(LatencyGridTest, HoldsTheUtilisationOutside) {
  std::vector<LatencyGrid::Sample> samples = {{.at = {1}, .latency = 2},
                                              {.at = {10}, .latency = 5}};
  const LatencyGrid grid(1, samples, std::make_shared<ProductBound>());
  EXPECT_EQ(grid.at({20})->found, Found::kHeld);
  EXPECT_DOUBLE_EQ(grid.at({20})->latency, 10);
}

TEST(LatencyGridTest, IsContinuousOutside) {
  const auto grid = plane();
  double last = grid.at({4.001, 12})->latency;
  for (double x = 4.01; x < 64; x *= 1.001) {
    const double next = grid.at({x, 12})->latency;
    EXPECT_LT(std::abs(next / last - 1), 0.02) << x;
    last = next;
  }
}

TEST(LatencyGridTest, KeepsTheLastOfEqualSamples) {
  std::vector<LatencyGrid::Sample> samples = {{.at = {1, 1}, .latency = 2},
                                              {.at = {1, 1}, .latency = 7}};
  const LatencyGrid grid(2, samples, std::make_shared<ProductBound>());
  EXPECT_EQ(grid.size(), 1U);
  EXPECT_EQ(grid.at({1, 1})->latency, 7);
}

TEST(LatencyGridTest, AnEmptyGridAnswersNothing) {
  const LatencyGrid grid(2, {}, std::make_shared<ProductBound>());
  EXPECT_FALSE(grid.at({1, 1}));
}

}  // namespace
}  // namespace dsaperf::predict::compatible
