#include "dsaperf/predict/what_if.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::predict {
namespace {

std::vector<std::string> texts(std::string_view text) {
  const auto changes = parse_changes(text);
  if (!changes) return {changes.error().message()};
  std::vector<std::string> out;
  for (const auto& c : *changes) out.push_back(c.axis + "=" + c.value);
  return out;
}

TEST(WhatIfTest, ReadsListsRangesAndFormats) {
  EXPECT_THAT(texts("topk=512..2048,heads=8|24,kv=fp8"),
              ::testing::ElementsAre("topk=512", "topk=1024", "topk=2048", "heads=8", "heads=24",
                                     "kv=fp8"));
  EXPECT_THAT(texts("past=1000..3000"),
              ::testing::ElementsAre("past=1000", "past=2000", "past=3000"));
}

TEST(WhatIfTest, NamesThePartThatIsWrong) {
  for (const char* text : {"", "topk", "colour=red", "heads=many", "heads=8..4", "kv=a..b"}) {
    EXPECT_FALSE(parse_changes(text)) << text;
  }
  EXPECT_THAT(parse_changes("heads=8,colour=red").error().message(),
              ::testing::HasSubstr("colour=red"));
}

}  // namespace
}  // namespace dsaperf::predict
