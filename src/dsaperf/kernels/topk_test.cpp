#include "dsaperf/kernels/topk.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

namespace dsaperf::kernels {
namespace {

using testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::nanf("");

std::vector<std::int32_t> select(const std::vector<float>& row, int topk) {
  std::vector<std::int32_t> indices(topk, 77);
  const TopkParams params = {.scores = row.data(),
                             .indices = indices.data(),
                             .rows = 1,
                             .columns = static_cast<std::int64_t>(row.size()),
                             .topk = topk,
                             .scores_stride = static_cast<std::int64_t>(row.size()),
                             .indices_stride = topk};
  EXPECT_TRUE(topk_reference(params));
  return indices;
}

TEST(TopkReferenceTest, TakesTheHighest) {
  EXPECT_THAT(select({1, 5, 3, 4}, 2), ElementsAre(1, 3));
}

TEST(TopkReferenceTest, FillsWithMinusOneBeyondWhatIsVisible) {
  EXPECT_THAT(select({1, 5}, 4), ElementsAre(1, 0, -1, -1));
  EXPECT_THAT(select({}, 3), ElementsAre(-1, -1, -1));
}

TEST(TopkReferenceTest, TakesTheLowestPositionsOfATiedThreshold) {
  EXPECT_THAT(select({0, 0, 7, 0, 0}, 3), ElementsAre(2, 0, 1));
}

TEST(TopkReferenceTest, NanSortsBelowEveryNumber) {
  EXPECT_THAT(select({kNaN, -kInfinity, kNaN, 1, kInfinity}, 4), ElementsAre(4, 3, 1, 0));
}

TEST(TopkReferenceTest, PositionsAreRelativeToTheRowsStartAndRangesAreClamped) {
  const std::vector<float> scores = {9, 1, 2, 3, 0, /* row 1 */ 9, 8, 7, 6, 5, /* row 2 */ 1,
                                     1, 1, 1, 1};
  const std::vector<std::int32_t> start = {1, 3, 4};
  const std::vector<std::int32_t> end = {4, 50, 2};
  std::vector<std::int32_t> indices(3 * 3, 77);
  const TopkParams params = {.scores = scores.data(),
                             .start = start.data(),
                             .end = end.data(),
                             .indices = indices.data(),
                             .rows = 3,
                             .columns = 5,
                             .topk = 2,
                             .scores_stride = 5,
                             .indices_stride = 3};
  ASSERT_TRUE(topk_reference(params));
  EXPECT_THAT(indices, ElementsAre(2, 1, 77, 0, 1, 77, -1, -1, 77));
}

TEST(TopkCheckTest, RefusesWhatContradictsItself) {
  TopkParams params = {.rows = 1, .columns = 4, .topk = 2};
  EXPECT_FALSE(topk_reference(params)) << "null pointers";
  params.rows = 0;
  EXPECT_TRUE(topk_reference(params));
  params.topk = 0;
  EXPECT_FALSE(topk_reference(params));
  params = {.rows = 0, .columns = std::int64_t{1} << 31, .topk = 2};
  EXPECT_FALSE(topk_reference(params));
}

}  // namespace
}  // namespace dsaperf::kernels
