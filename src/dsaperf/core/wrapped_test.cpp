#include "dsaperf/core/wrapped.hpp"

#include <gtest/gtest.h>

namespace dsaperf {
namespace {

TEST(WrappedTest, LeavesLinesThatFit) {
  EXPECT_EQ(wrapped("one two\n\nthree\n", 7), "one two\n\nthree\n");
  EXPECT_EQ(wrapped("", 7), "");
}

TEST(WrappedTest, BreaksAtTheLastSpaceThatFits) {
  EXPECT_EQ(wrapped("one two three", 8), "one two\nthree");
  EXPECT_EQ(wrapped("one two three", 7), "one two\nthree");
  EXPECT_EQ(wrapped("  one two", 5, {.indent = "    "}), "  one\n    two");
}

TEST(WrappedTest, KeepsAWordThatIsTooWide) {
  EXPECT_EQ(wrapped("of /a/long/path and more", 8), "of\n/a/long/path\nand more");
}

TEST(WrappedTest, CountsColumnsNotBytes) {
  EXPECT_EQ(wrapped("×××× ×××", 8), "×××× ×××");
}

TEST(WrappedTest, GoesOnAsACommandDoes) {
  EXPECT_EQ(wrapped("run --one 1 --two 2", 13, {.separator = " \\", .indent = "  "}),
            "run --one 1 \\\n  --two 2");
}

}  // namespace
}  // namespace dsaperf
