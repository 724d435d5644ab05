#include "dsaperf/report/text_plot.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <sstream>

namespace dsaperf::report {
namespace {

std::vector<std::string> lines(const std::string& text) {
  std::istringstream stream(text);
  std::vector<std::string> result;
  for (std::string line; std::getline(stream, line);) result.push_back(line);
  return result;
}

TEST(TextPlotTest, CornersOfTheRangeAreCornersOfTheFrame) {
  const auto text = lines(text_plot({{"one", {1, 10, 100}, {2, 20, 200}}},
                                    {.x_label = "x", .y_label = "y", .width = 32, .height = 5}));
  ASSERT_EQ(text.size(), 10U);
  EXPECT_EQ(text[1], "      200 |                    A");
  EXPECT_EQ(text[3], "       20 |          A          ");
  EXPECT_EQ(text[5], "        2 |A                    ");
  EXPECT_EQ(text[7], "           1                 100");
  EXPECT_EQ(text[9], "        A one");
}

TEST(TextPlotTest, TwoSeriesInOnePlaceAreAStar) {
  const auto text = text_plot({{"a", {1, 2}, {1, 2}}, {"b", {1, 2}, {1, 1}}}, {});
  EXPECT_THAT(text, testing::HasSubstr("*"));
  EXPECT_THAT(text, testing::HasSubstr("B b"));
}

TEST(TextPlotTest, ValuesThatHaveNoLogarithmAreLeftOut) {
  EXPECT_EQ(text_plot({{"a", {0, -1, 1}, {1, 1, std::nan("")}}}, {}), "");
  EXPECT_EQ(text_plot({}, {}), "");
  EXPECT_NE(text_plot({{"a", {0, 5}, {1, 1}}}, {}), "");
}

}  // namespace
}  // namespace dsaperf::report
