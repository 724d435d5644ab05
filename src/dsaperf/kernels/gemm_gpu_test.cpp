#include "dsaperf/kernels/gemm_gpu.hpp"

#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"
#include "dsaperf/kernels/testing/gemm_shapes.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

namespace dsaperf::kernels {
namespace {

using gpu::DeviceArray;

// f32 sums of k products in any order lie within k * 2^-24 of the sum of magnitudes; the result is
// rounded to bf16 once (2^-9 relative).
double tolerance(double value, double magnitudes, std::int64_t k) {
  return std::abs(value) * 0x1p-8 + magnitudes * static_cast<double>(k) * 0x1p-24;
}

class GemmGpuTest : public ::testing::TestWithParam<testing::GemmShape> {};

TEST_P(GemmGpuTest, Bf16ProjectionsAgreeWithTheReferenceAndLeaveTheGapsAlone) {
  DSAPERF_REQUIRE_GPU();
  const auto [m, n, k] = GetParam();
  const auto x = testing::normal_bf16(m * k, 1);
  const auto w = testing::normal_bf16(n * k, 2);
  constexpr std::uint16_t kPoison = 0x7fc1;
  const std::int64_t y_stride = n + 8;
  const auto d_x = *DeviceArray<std::uint16_t>::copy_of(x);
  const auto d_w = *DeviceArray<std::uint16_t>::copy_of(w);
  auto d_y =
      *DeviceArray<std::uint16_t>::copy_of(std::vector<std::uint16_t>(m * y_stride, kPoison));
  auto library = GemmLibrary::create();
  ASSERT_TRUE(library) << library.error().message();
  const auto stream = *gpu::Stream::create();
  GemmParams params{.x = d_x.data(),
                    .w = d_w.data(),
                    .y = d_y.data(),
                    .m = m,
                    .n = n,
                    .k = k,
                    .x_stride = k,
                    .w_stride = k,
                    .y_stride = y_stride};
  const auto run = library->gemm(params, stream.get());
  ASSERT_TRUE(run) << run.error().message();
  ASSERT_TRUE(stream.synchronize());
  const auto y = *d_y.to_host();
  for (std::int64_t row = 0; row < m; ++row) {
    for (std::int64_t column = 0; column < n; ++column) {
      // A part of large outputs is enough.
      if (row % 7 != 0 && (column % 5 != 0 || m > 400)) continue;
      if (m > 400 && row % 37 != 0) continue;
      double sum = 0;
      double magnitudes = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const double product =
            double{bf16_to_float(x[row * k + i])} * bf16_to_float(w[column * k + i]);
        sum += product;
        magnitudes += std::abs(product);
      }
      ASSERT_NEAR(bf16_to_float(y[row * y_stride + column]), sum, tolerance(sum, magnitudes, k))
          << row << ", " << column;
    }
    for (std::int64_t column = n; column < y_stride; ++column)
      ASSERT_EQ(y[row * y_stride + column], kPoison);
  }
}

TEST_P(GemmGpuTest, Fp8ProjectionsApplyTheScaleOfEachRowAndBlock) {
  DSAPERF_REQUIRE_GPU();
  const auto [m, n, k] = GetParam();
  const std::int64_t groups = (k + 127) / 128;
  const std::int64_t blocks = (n + 127) / 128;
  std::mt19937 engine(3);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<float> scale(0.01F, 3.0F);  // not only powers of two
  std::vector<std::uint8_t> x(m * k), w(n * k);
  for (auto& value : x) value = e4m3_from(normal(engine) * 20);
  for (auto& value : w) value = e4m3_from(normal(engine) * 20);
  std::vector<float> x_scales(m * groups), w_scales(blocks * groups);
  for (auto& value : x_scales) value = scale(engine);
  for (auto& value : w_scales) value = scale(engine);
  // Of many rows some are enough: the first, the last, and those at other places of every tile.
  std::vector<std::int64_t> checked;
  for (std::int64_t row = 0; row < m; row += m > 400 ? 37 : 1) checked.push_back(row);
  if (checked.back() != m - 1) checked.push_back(m - 1);
  std::vector<std::uint8_t> checked_x;
  std::vector<float> checked_scales;
  for (const auto row : checked) {
    checked_x.insert(checked_x.end(), x.begin() + row * k, x.begin() + (row + 1) * k);
    checked_scales.insert(checked_scales.end(), x_scales.begin() + row * groups,
                          x_scales.begin() + (row + 1) * groups);
  }
  std::vector<std::uint16_t> expected(checked.size() * n);
  Fp8GemmParams params{.x = checked_x.data(),
                       .x_scales = checked_scales.data(),
                       .w = w.data(),
                       .w_scales = w_scales.data(),
                       .y = expected.data(),
                       .m = static_cast<std::int64_t>(checked.size()),
                       .n = n,
                       .k = k,
                       .x_stride = k,
                       .x_scales_stride = groups,
                       .w_stride = k,
                       .w_scales_stride = groups,
                       .y_stride = n};
  ASSERT_TRUE(fp8_gemm_reference(params));

  const auto d_x = *DeviceArray<std::uint8_t>::copy_of(x);
  const auto d_w = *DeviceArray<std::uint8_t>::copy_of(w);
  const auto d_xs = *DeviceArray<float>::copy_of(x_scales);
  const auto d_ws = *DeviceArray<float>::copy_of(w_scales);
  constexpr std::uint16_t kPoison = 0x7fc1;
  // Rows that start at 16 bytes are stored in other pieces than those that do not.
  const std::int64_t y_stride = n % 8 == 0 ? n + 8 : n + 3;
  auto d_y =
      *DeviceArray<std::uint16_t>::copy_of(std::vector<std::uint16_t>(m * y_stride, kPoison));
  params.x = d_x.data();
  params.w = d_w.data();
  params.x_scales = d_xs.data();
  params.w_scales = d_ws.data();
  params.y = d_y.data();
  params.m = m;
  params.y_stride = y_stride;
  const auto stream = *gpu::Stream::create();
  const auto run = fp8_gemm(params, stream.get());
  ASSERT_TRUE(run) << run.error().message();
  ASSERT_TRUE(stream.synchronize());
  const auto y = *d_y.to_host();
  // Products of e4m3 are exact; a tensor core sums 32 of them with at least 13 bits below the
  // largest, then everything is f32. Typical magnitudes of the sum: 400 * sqrt(k).
  const double noise = 400.0 * 9 * std::sqrt(static_cast<double>(k)) * 0x1p-10;
  for (std::size_t i = 0; i < checked.size(); ++i) {
    const std::int64_t row = checked[i];
    for (std::int64_t column = 0; column < n; ++column) {
      const double want = bf16_to_float(expected[i * n + column]);
      ASSERT_NEAR(bf16_to_float(y[row * y_stride + column]), want, std::abs(want) * 0x1p-7 + noise)
          << row << ", " << column;
    }
  }
  for (std::int64_t row = 0; row < m; ++row) {
    for (std::int64_t column = n; column < y_stride; ++column)
      ASSERT_EQ(y[row * y_stride + column], kPoison);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, GemmGpuTest, ::testing::ValuesIn(testing::kGemmShapes));

TEST(GemmLibraryGpuTest, AbsorbsAndExpandsOverHeadsAsAnInnerDimension) {
  DSAPERF_REQUIRE_GPU();
  constexpr std::int64_t kTokens = 5, kHeads = 3, kNope = 128, kLatent = 512;
  const auto q = testing::normal_bf16(kTokens * kHeads * (kNope + 64), 1);
  const auto w = testing::normal_bf16(kHeads * kNope * kLatent, 2);
  std::vector<std::uint16_t> expected(kTokens * kHeads * kLatent);
  GemmParams params{.x = q.data(),
                    .w = w.data(),
                    .y = expected.data(),
                    .m = kTokens,
                    .n = kLatent,
                    .k = kNope,
                    .batch = kHeads,
                    .x_stride = kHeads * (kNope + 64),
                    .w_stride = kLatent,
                    .y_stride = kHeads * kLatent,
                    .x_batch_stride = kNope + 64,
                    .w_batch_stride = kNope * kLatent,
                    .y_batch_stride = kLatent,
                    .w_layout = WeightLayout::kInOut};
  ASSERT_TRUE(gemm_reference(params));
  const auto d_q = *DeviceArray<std::uint16_t>::copy_of(q);
  const auto d_w = *DeviceArray<std::uint16_t>::copy_of(w);
  auto d_y = *DeviceArray<std::uint16_t>::filled_with_byte(expected.size(), 0x7f);
  params.x = d_q.data();
  params.w = d_w.data();
  params.y = d_y.data();
  auto library = GemmLibrary::create();
  ASSERT_TRUE(library) << library.error().message();
  const auto stream = *gpu::Stream::create();
  const auto run = library->gemm(params, stream.get());
  ASSERT_TRUE(run) << run.error().message();
  ASSERT_TRUE(stream.synchronize());
  const auto y = *d_y.to_host();
  // sqrt(128) is a typical sum; 128 terms of f32 rounding and one of bf16.
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double want = bf16_to_float(expected[i]);
    ASSERT_NEAR(bf16_to_float(y[i]), want, std::abs(want) * 0x1p-7 + 128 * 100 * 0x1p-24) << i;
  }
}

TEST(GemmLibraryGpuTest, Fp8RefusesWhatItCannotCopyInSixteenBytes) {
  DSAPERF_REQUIRE_GPU();
  const auto data = *DeviceArray<std::uint8_t>::filled_with_byte(4096, 0);
  Fp8GemmParams params{.x = data.data(),
                       .x_scales = reinterpret_cast<float*>(data.data()),
                       .w = data.data(),
                       .w_scales = reinterpret_cast<float*>(data.data()),
                       .y = data.data(),
                       .m = 1,
                       .n = 8,
                       .k = 100,
                       .x_stride = 100,
                       .x_scales_stride = 1,
                       .w_stride = 100,
                       .w_scales_stride = 1,
                       .y_stride = 8};
  EXPECT_EQ(fp8_gemm(params, nullptr).error().code(), Errc::kUnsupported);
}

}  // namespace
}  // namespace dsaperf::kernels
