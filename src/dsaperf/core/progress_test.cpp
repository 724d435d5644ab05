#include "dsaperf/core/progress.hpp"

#include "dsaperf/core/text_table.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace dsaperf {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;
using testing::Not;

// A clock that the test moves, and everything that was written.
struct Screen {
  std::chrono::steady_clock::time_point now;
  std::vector<std::string> written;

  Progress::Sink sink() {
    return [this](std::string_view text) { written.emplace_back(text); };
  }
  Progress::Clock clock() {
    return [this] { return now; };
  }
};

TEST(ProgressTest, ShowsRateAndTimeLeft) {
  Screen screen;
  Progress progress({.what = "collect", .total = 400, .unit = "cases"}, screen.sink(),
                    screen.clock());
  screen.now += milliseconds(50'000);
  progress.advance(100);
  EXPECT_THAT(screen.written.back(), HasSubstr("100/400 cases  2 cases/s  2 min 30 s left"));
}

TEST(ProgressTest, DoesNotCountSkippedWorkInTheRate) {
  Screen screen;
  Progress progress({.what = "collect", .total = 400, .unit = "cases"}, screen.sink(),
                    screen.clock());
  progress.skip(300);
  screen.now += milliseconds(50'000);
  progress.advance(50);
  EXPECT_THAT(screen.written.back(), HasSubstr("350/400 cases  1 cases/s  50 s left"));
}

TEST(ProgressTest, RewritesAtMostTenTimesASecond) {
  Screen screen;
  Progress progress({.what = "read", .total = 1000, .unit = "rows"}, screen.sink(), screen.clock());
  for (int i = 0; i < 1000; ++i) {
    screen.now += milliseconds(1);
    progress.advance(1);
  }
  EXPECT_LE(screen.written.size(), 11U);
  EXPECT_GE(screen.written.size(), 9U);
}

TEST(ProgressTest, StaysWithinItsWidth) {
  Screen screen;
  Progress progress({.what = "collect", .total = 4'000'000, .unit = "cases", .width = 60},
                    screen.sink(), screen.clock());
  screen.now += milliseconds(1234);
  progress.advance(1'234'567);
  const std::string line = screen.written.back().substr(std::string_view("\r\033[K").size());
  EXPECT_LT(text_width(line), 60) << line;
}

TEST(ProgressTest, RemovesItsLineAtTheEnd) {
  Screen screen;
  {
    Progress({.what = "x", .total = 2, .unit = "y"}, screen.sink(), screen.clock()).advance(1);
  }
  EXPECT_EQ(screen.written.back(), "\r\033[K");
}

TEST(ProgressTest, ShowsNoTimeLeftWhereTheTotalIsNotKnown) {
  Screen screen;
  Progress progress({.what = "read", .total = 0, .unit = "rows"}, screen.sink(), screen.clock());
  screen.now += milliseconds(1000);
  progress.advance(5);
  EXPECT_THAT(screen.written.back(), Not(HasSubstr("left")));
}

TEST(ProgressTest, IsSilentWithoutASink) {
  Progress progress({.what = "x", .total = 2, .unit = "y"}, {});
  progress.advance(1);  // must not call an empty function
}

TEST(DurationTextTest, UsesTwoUnitsAtMost) {
  EXPECT_EQ(duration_text(1.25), "1.2 s");
  EXPECT_EQ(duration_text(59.7), "1 min 0 s");
  EXPECT_EQ(duration_text(7800), "2 h 10 min");
  EXPECT_EQ(duration_text(std::numeric_limits<double>::infinity()), "?");
}

}  // namespace
}  // namespace dsaperf
