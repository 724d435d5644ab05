#include "dsaperf/kernels/cpu/sgemm.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace dsaperf::kernels::cpu {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

TEST(SgemmTest, MultipliesByRowsAndByColumnsWithStrides) {
  ASSERT_TRUE(open_blas());
  const std::array<float, 6> x = {1, 2, 0, 3, 4, 0};  // [2, 2], rows 3 apart
  const std::array<float, 4> w = {5, 6, 7, 8};        // [2, 2]
  std::array<float, 4> y{};
  multiply_by_rows(2, 2, 2, x.data(), 3, w.data(), 2, y.data(), 2);
  EXPECT_THAT(y, ElementsAre(17, 23, 39, 53));
  multiply_by_columns(2, 2, 2, x.data(), 3, w.data(), 2, y.data(), 2);
  EXPECT_THAT(y, ElementsAre(19, 22, 43, 50));
}

TEST(SgemmTest, AnEmptySumIsZeroAndNoRowsAreNothing) {
  ASSERT_TRUE(open_blas());
  std::array<float, 4> y = {1, 1, 1, 1};
  multiply_by_rows(0, 2, 2, nullptr, 2, nullptr, 2, y.data(), 2);
  EXPECT_THAT(y, Each(1));
  multiply_by_rows(2, 2, 0, nullptr, 0, nullptr, 0, y.data(), 2);
  EXPECT_THAT(y, Each(0));
}

}  // namespace
}  // namespace dsaperf::kernels::cpu
