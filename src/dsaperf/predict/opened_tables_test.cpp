#include "dsaperf/predict/opened_tables.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::predict {
namespace {

TEST(OpenedTablesTest, OursByNameAnswerForEveryEngineAndSaySo) {
  const auto opened = open_tables({}, "dsaperf", true);
  ASSERT_TRUE(opened) << opened.error().message();
  EXPECT_TRUE(opened->are_ours());
  for (const char* engine : {"sglang", "vllm", "trtllm"}) {
    const auto operators = opened->operators("h200_sxm", engine, "");
    ASSERT_TRUE(operators) << operators.error().message();
    EXPECT_EQ(operators->backend(), "dsaperf") << engine;
  }
  EXPECT_THAT(opened->warnings("h200_sxm"),
              testing::ElementsAre(testing::HasSubstr("our own tables of h200_sxm")));
}

TEST(OpenedTablesTest, ANamedFolderThatIsNoneIsAnError) {
  EXPECT_EQ(open_tables("/no/such/folder", "sglang", false).error().code(), Errc::kNotFound);
}

}  // namespace
}  // namespace dsaperf::predict
