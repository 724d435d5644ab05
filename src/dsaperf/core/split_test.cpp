#include "dsaperf/core/split.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf {
namespace {

using testing::ElementsAre;

TEST(SplitTest, PartsAreWhatStandsBetweenSeparators) {
  EXPECT_THAT(split("a,bc", ','), ElementsAre("a", "bc"));
  EXPECT_THAT(split("a", ','), ElementsAre("a"));
}

TEST(SplitTest, EmptyPartsCount) {
  EXPECT_THAT(split("", ','), ElementsAre(""));
  EXPECT_THAT(split(",a,", ','), ElementsAre("", "a", ""));
}

}  // namespace
}  // namespace dsaperf
