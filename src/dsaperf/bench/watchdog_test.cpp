#include "dsaperf/bench/watchdog.hpp"

#include <gtest/gtest.h>

#include <future>
#include <string>

namespace dsaperf::bench {
namespace {

TEST(WatchdogTest, NamesWhatWasBegunLastAndNeverEnded) {
  std::promise<std::string> stalled;
  Watchdog watchdog(std::chrono::milliseconds(1),
                    [&](const std::string& what) { stalled.set_value(what); });
  watchdog.begin("few_heads");
  EXPECT_EQ(stalled.get_future().get(), "few_heads");
}

TEST(WatchdogTest, IsQuietAboutWhatEndsAndBeforeAnythingBegins) {
  Watchdog watchdog(std::chrono::hours(1), [](const std::string& what) { ADD_FAILURE() << what; });
  watchdog.begin("default");
  watchdog.begin("split");
  watchdog.end();
}

}  // namespace
}  // namespace dsaperf::bench
