#include "dsaperf/core/lower_case.hpp"

#include <gtest/gtest.h>

namespace dsaperf {
namespace {

TEST(LowerCaseTest, ChangesAsciiLettersAlone) {
  EXPECT_EQ(lower_case("GLM-5.1 Z[@{"), "glm-5.1 z[@{");
  EXPECT_EQ(lower_case("\xC3\x84"), "\xC3\x84");  // a letter of two bytes
  EXPECT_EQ(lower_case(""), "");
}

}  // namespace
}  // namespace dsaperf
