#include "dsaperf/kernels/gemm.hpp"

#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

namespace dsaperf::kernels {
namespace {

using testing::bf16;
using testing::doubles;

TEST(GemmReferenceTest, MultipliesByWeightsAsCheckpointsStoreThem) {
  const auto x = bf16({1, 2, 3, /**/ -1, 0, 1});
  const auto w = bf16({1, 1, 1, /**/ 0, 2, 0});  // [2, 3]
  std::vector<std::uint16_t> y(4);
  ASSERT_TRUE(gemm_reference({.x = x.data(),
                              .w = w.data(),
                              .y = y.data(),
                              .m = 2,
                              .n = 2,
                              .k = 3,
                              .x_stride = 3,
                              .w_stride = 3,
                              .y_stride = 2}));
  EXPECT_EQ(doubles(y), (std::vector<double>{6, 4, 0, 0}));
}

TEST(GemmReferenceTest, BatchesOverHeadsInsideTokens) {
  // Two tokens, two heads of two; each head has its own [2, 1] matrix, stored [k, n].
  const auto x = bf16({1, 2, 3, 4, /**/ 5, 6, 7, 8});
  const auto w = bf16({1, 10, /**/ 100, 1000});
  std::vector<float> y(4);
  ASSERT_TRUE(gemm_reference({.x = x.data(),
                              .w = w.data(),
                              .y = y.data(),
                              .m = 2,
                              .n = 1,
                              .k = 2,
                              .batch = 2,
                              .x_stride = 4,
                              .w_stride = 1,
                              .y_stride = 2,
                              .x_batch_stride = 2,
                              .w_batch_stride = 2,
                              .y_batch_stride = 1,
                              .w_layout = WeightLayout::kInOut,
                              .output = GemmOutput::kF32}));
  EXPECT_EQ(y, (std::vector<float>{21, 4300, 65, 8700}));
}

TEST(GemmReferenceTest, AnEmptyInnerDimensionGivesZeros) {
  std::vector<std::uint16_t> y(2, 0xabcd);
  ASSERT_TRUE(gemm_reference({.x = y.data(), .w = y.data(), .y = y.data(), .m = 1, .n = 2}));
  EXPECT_EQ(doubles(y), (std::vector<double>{0, 0}));
}

TEST(Fp8GemmReferenceTest, AppliesScalesOfRowsGroupsAndBlocks) {
  const int k = 130;
  std::vector<std::uint8_t> x(k, e4m3_from(1));
  std::vector<std::uint8_t> w(129 * k, e4m3_from(1));
  const std::vector<float> x_scales = {0.5F, 3};
  const std::vector<float> w_scales = {1, 2, /**/ 4, 8};
  std::vector<std::uint16_t> y(129);
  ASSERT_TRUE(fp8_gemm_reference({.x = x.data(),
                                  .x_scales = x_scales.data(),
                                  .w = w.data(),
                                  .w_scales = w_scales.data(),
                                  .y = y.data(),
                                  .m = 1,
                                  .n = 129,
                                  .k = k,
                                  .x_stride = k,
                                  .x_scales_stride = 2,
                                  .w_stride = k,
                                  .w_scales_stride = 2,
                                  .y_stride = 129}));
  EXPECT_EQ(bf16_to_float(y[127]), 128 * 0.5 * 1 + 2 * 3 * 2);
  EXPECT_EQ(bf16_to_float(y[128]), 128 * 0.5 * 4 + 2 * 3 * 8);
}

TEST(GemmCheckTest, RefusesWhatContradictsItself) {
  std::vector<std::uint16_t> data(64);
  GemmParams p = {.x = data.data(),
                  .w = data.data(),
                  .y = data.data(),
                  .m = 2,
                  .n = 3,
                  .k = 4,
                  .x_stride = 4,
                  .w_stride = 4,
                  .y_stride = 3};
  EXPECT_TRUE(gemm_check(p));
  p.w_stride = 3;
  EXPECT_FALSE(gemm_check(p));
  p.w_layout = WeightLayout::kInOut;
  EXPECT_TRUE(gemm_check(p));
  p.y_stride = 2;
  EXPECT_FALSE(gemm_check(p));
  EXPECT_FALSE(gemm_check({.m = 1, .n = 1, .k = 1}));
  EXPECT_FALSE(gemm_check({.m = -1}));
  EXPECT_FALSE(fp8_gemm_check({.m = 1, .n = 1, .k = 1}));
  EXPECT_TRUE(fp8_gemm_check({.m = 0, .n = 1, .k = 1}));
}

}  // namespace
}  // namespace dsaperf::kernels
