#include "dsaperf/serving/quirks.hpp"

#include <gtest/gtest.h>

namespace dsaperf::serving {
namespace {

TEST(QuirksTest, EachCanBeSwitchedByName) {
  for (const Quirk quirk : all_quirks()) {
    const auto without = Quirks::parse("all,-" + std::string(name(quirk)));
    const auto only = Quirks::parse("none," + std::string(name(quirk)));
    ASSERT_TRUE(without && only);
    for (const Quirk other : all_quirks()) {
      EXPECT_EQ(without->has(other), other != quirk);
      EXPECT_EQ(only->has(other), other == quirk);
    }
    EXPECT_FALSE(describe(quirk).empty());
  }
}

TEST(QuirksTest, AnUnknownNameIsRefused) {
  EXPECT_EQ(Quirks::parse("all,-gravity").error().code(), Errc::kInvalidArgument);
}

}  // namespace
}  // namespace dsaperf::serving
