#include "dsaperf/core/utf8.hpp"

#include <gtest/gtest.h>

namespace dsaperf {
namespace {

TEST(Utf8Test, KeepsWhatIsUtf8) {
  for (const char* text : {"", "plain", "ünï", "模型", "\xF0\x9F\x9A\x80 rocket"})
    EXPECT_EQ(valid_utf8(text), text);
}

TEST(Utf8Test, ReplacesEachByteThatIsNot) {
  EXPECT_EQ(valid_utf8("a\xFF"
                       "b"),
            "a\uFFFDb");
  EXPECT_EQ(valid_utf8("\xC3"), "\uFFFD") << "cut off";
  EXPECT_EQ(valid_utf8("\xC0\xAF"), "\uFFFD\uFFFD") << "overlong";
  EXPECT_EQ(valid_utf8("\xED\xA0\x80"), "\uFFFD\uFFFD\uFFFD") << "a surrogate";
  EXPECT_EQ(valid_utf8("\xF4\x90\x80\x80x"), "\uFFFD\uFFFD\uFFFD\uFFFDx") << "beyond U+10FFFF";
}

}  // namespace
}  // namespace dsaperf
