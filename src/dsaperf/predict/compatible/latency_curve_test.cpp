#include "dsaperf/predict/compatible/latency_curve.hpp"

#include <gtest/gtest.h>

namespace dsaperf::predict::compatible {
namespace {

const auto kSize = [](double size) { return size; };

TEST(LatencyCurveTest, IsExactAtPointsAndLinearBetween) {
  const auto curve = LatencyCurve::from_points(
      {{.size = 4, .ms = 2}, {.size = 2, .ms = 1}, {.size = 8, .ms = 10}});
  EXPECT_EQ(curve.at(4, 1, kSize), 2);
  EXPECT_EQ(curve.at(5, 1, kSize), 4);
  EXPECT_EQ(curve.region(4), CurveRegion::kExact);
  EXPECT_EQ(curve.region(5), CurveRegion::kInside);
}

TEST(LatencyCurveTest, SaysWherePointsAreModelled) {
  const auto curve = LatencyCurve::from_points(
      {{.size = 2, .ms = 1, .is_modelled = true}, {.size = 4, .ms = 2}, {.size = 8, .ms = 3}});
  EXPECT_EQ(curve.region(2), CurveRegion::kModelled);
  EXPECT_EQ(curve.region(3), CurveRegion::kModelled);
  EXPECT_EQ(curve.region(4), CurveRegion::kExact);
  EXPECT_EQ(curve.region(6), CurveRegion::kInside);
}

TEST(LatencyCurveTest, TheFirstOfEqualPointsCounts) {
  const auto curve = LatencyCurve::from_points({{.size = 4, .ms = 2}, {.size = 4, .ms = 3}});
  EXPECT_EQ(curve.at(4, 1, kSize), 2);
}

TEST(LatencyCurveTest, HoldsTheUtilisationOfItsEnds) {
  const auto curve = LatencyCurve::from_points({{.size = 2, .ms = 1}, {.size = 4, .ms = 4}});
  EXPECT_EQ(curve.at(8, 1, kSize), 8);    // utilisation 1
  EXPECT_EQ(curve.at(1, 1, kSize), 0.5);  // utilisation 2
  EXPECT_EQ(curve.region(8), CurveRegion::kOutside);
}

TEST(LatencyCurveTest, TakesTheMedianOfTheTail) {
  const auto curve = LatencyCurve::from_points(
      {{.size = 1, .ms = 100}, {.size = 2, .ms = 2}, {.size = 4, .ms = 2}, {.size = 8, .ms = 2}});
  EXPECT_EQ(curve.at(16, 3, kSize), 8);  // utilisations 1, 2, 4
  EXPECT_EQ(curve.at(16, 2, kSize), 16.0 / 3);
}

}  // namespace
}  // namespace dsaperf::predict::compatible
