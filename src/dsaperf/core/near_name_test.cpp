#include "dsaperf/core/near_name.hpp"

#include <gtest/gtest.h>

#include <array>

namespace dsaperf {
namespace {

const std::array<std::string, 4> kCards = {"h100_pcie", "h100_sxm", "h200_sxm", "gb200"};

TEST(NearNameTest, CountsEdits) {
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("analyze", "analyze"), 0U);
}

TEST(NearNameTest, TheOnlyOneThatBeginsSoIsMeant) {
  EXPECT_EQ(did_you_mean("h200", kCards), "; did you mean 'h200_sxm'?");
  EXPECT_EQ(did_you_mean("h100", kCards), "") << "two begin so";
}

TEST(NearNameTest, CapitalsDoNotMatter) {
  EXPECT_EQ(near_name("H200", kCards), "h200_sxm");
  EXPECT_EQ(near_name("H100_SXM", kCards), "h100_sxm");
  EXPECT_EQ(near_name("GB20", kCards), "gb200");
}

TEST(NearNameTest, ANumberIsNotTheBeginningOfALongerOne) {
  EXPECT_FALSE(near_name("h20", kCards)) << "another card than h200_sxm";
}

TEST(NearNameTest, ASlipOfTheFingersIsForgiven) {
  EXPECT_EQ(near_name("h100-sxm", kCards), "h100_sxm");
  EXPECT_EQ(near_name("gb20", kCards), "gb200");
}

TEST(NearNameTest, AnotherWordIsNot) {
  EXPECT_FALSE(near_name("tpu", kCards));
  EXPECT_FALSE(near_name("", kCards));
  EXPECT_FALSE(near_name("h200", {}));
}

}  // namespace
}  // namespace dsaperf
