#include "dsaperf/perfdb/version.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace dsaperf::perfdb {
namespace {

TEST(VersionTest, OrdersAsPythonPackagesDo) {
  const std::vector<const char*> ascending = {
      "0.1.dev19262",     "0.1",       "0.5.6", "0.5.6.post2", "0.5.9",  "0.5.14",
      "0.5.14+dsaperf.1", "0.5.16",    "1.0a1", "1.0b1",       "1.0rc1", "1.0",
      "1.3.0rc10",        "1.3.0rc20", "1.3.0", "1!0.1"};
  for (std::size_t i = 1; i < ascending.size(); ++i) {
    const auto low = Version::parse(ascending[i - 1]);
    const auto high = Version::parse(ascending[i]);
    ASSERT_TRUE(low && high) << ascending[i];
    EXPECT_LT(*low, *high) << ascending[i - 1] << " and " << ascending[i];
  }
}

TEST(VersionTest, TakesTrailingZerosAndSpellingsForEqual) {
  EXPECT_EQ(*Version::parse("1.0"), *Version::parse("1.0.0"));
  EXPECT_EQ(*Version::parse("v1.0-rc.1"), *Version::parse("1.0rc1"));
}

TEST(VersionTest, RefusesWhatIsNoVersion) {
  for (const char* text : {"", "dsaperf-0.1.0", "0.5.14-dsaperf", "current", "1..2", "1.0+a!b"}) {
    EXPECT_FALSE(Version::parse(text)) << text;
  }
}

}  // namespace
}  // namespace dsaperf::perfdb
