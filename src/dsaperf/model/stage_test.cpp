#include "dsaperf/model/stage.hpp"

#include <gtest/gtest.h>

namespace dsaperf::model {
namespace {

TEST(StageTest, NamesRoundTrip) {
  for (const Stage stage : all_stages()) EXPECT_EQ(stage_from_name(name(stage)), stage);
}

TEST(StageTest, UnknownNameIsEmpty) {
  EXPECT_EQ(stage_from_name("softmax"), std::nullopt);
}

TEST(StageTest, IndexKeysAreWrittenEvenWhereNothingIsSelected) {
  EXPECT_TRUE(is_selection(Stage::kTopk));
  EXPECT_FALSE(is_selection(Stage::kIndexCacheWrite));
}

}  // namespace
}  // namespace dsaperf::model
