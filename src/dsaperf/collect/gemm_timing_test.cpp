#include "dsaperf/collect/gemm_timing.hpp"

#include "dsaperf/collect/layer_source.hpp"
#include "dsaperf/op/testing/small_layer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace dsaperf::collect {
namespace {

using model::WeightFormat;
using ::testing::HasSubstr;

Case product(std::int64_t m, WeightFormat format, Launch launch = Launch::kGraph) {
  return {.gemm = format, .launch = launch, .product = GemmSizes{.m = m, .n = 192, .k = 256}};
}

struct NamedKernels : KernelWitness {
  Result<std::vector<std::string>> kernels_of(const std::function<Result<void>()>& work) override {
    DSAPERF_TRY(work());
    return kernels;
  }
  std::vector<std::string> kernels;
};

std::unique_ptr<LayerSource> source(std::unique_ptr<KernelWitness> witness = {}) {
  return *LayerSource::create(
      op::cpu_backend(1), [](const Case&) { return op::testing::small_spec(); },
      {.stopping = {.least = 5, .most = 7, .settle_seconds = 0}, .version = "1"}, nullptr,
      std::move(witness));
}

TEST(GemmTimerTest, AProductIsMeasuredColdAndWarmInBothFormats) {
  auto timed = source();
  for (const auto format : {WeightFormat::kBf16, WeightFormat::kFp8Block}) {
    for (const auto launch : {Launch::kGraph, Launch::kEager}) {
      const auto result = timed->measure(product(3, format, launch));
      ASSERT_TRUE(result) << result.error().message();
      EXPECT_GT(result->warm.median.value, 0);
      EXPECT_GT(result->cold.median.value, 0);
      EXPECT_GE(result->warm.count, 3);  // however slow the machine
      EXPECT_TRUE(result->stages.empty());
    }
  }
}

TEST(GemmTimerTest, WeightsServeOneShapeAndFormat) {
  const auto backend = op::cpu_backend(1);
  const auto weights = *GemmWeights::make(*backend, 192, 256, WeightFormat::kFp8Block);
  EXPECT_TRUE(weights.serve(product(7, WeightFormat::kFp8Block)));
  EXPECT_FALSE(weights.serve(product(7, WeightFormat::kBf16)));
  const auto& copy = weights.copies.front();
  EXPECT_EQ(copy.values.bytes(), 192U * 256);
  EXPECT_EQ(copy.scales.bytes(), 2U * 2 * sizeof(float)) << "192 rows are two blocks";
  EXPECT_EQ(weights.copies.size(), 128U) << "small ones, as many as there may be";
}

// 8 Mi values are drawn; the rest repeats them, whole blocks of scales with them.
TEST(GemmTimerTest, LargeWeightsRepeatAPiece) {
  const auto backend = op::cpu_backend(1);
  const std::int64_t rows = 128 * 130;
  const auto weights = *GemmWeights::make(*backend, rows, 1024, WeightFormat::kFp8Block);
  EXPECT_EQ(weights.copies.size(), 8U) << "16.25 MB each, 128 MB in all";
  const auto& copy = weights.copies.back();
  const std::int64_t drawn = (std::int64_t{8} << 20) / 1024;
  const auto* values = copy.values.as<std::uint8_t>();
  const auto* scales = copy.scales.as<float>();
  EXPECT_EQ(values[0], values[drawn * 1024]);
  EXPECT_EQ(values[5], values[2 * drawn * 1024 + 5]) << "the last two blocks of rows";
  EXPECT_EQ(scales[0], scales[(drawn / 128) * 8]);
  EXPECT_NE(scales[0], 0);
}

TEST(GemmTimerTest, EvidenceIsTheKernelThatMultiplied) {
  auto witness = std::make_unique<NamedKernels>();
  auto* saw = witness.get();
  auto timed = source(std::move(witness));
  saw->kernels = {"dsaperf::kernels::sm90::quantise_groups_kernel()",
                  "dsaperf::kernels::sm90::fp8_gemm_few_rows_kernel<8>()"};
  const auto result = timed->measure(product(1, WeightFormat::kFp8Block));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_THAT(result->kernel_source, HasSubstr("fp8_gemm_few_rows"));
  saw->kernels = {"nvjet_tst_64x8_64x16_1x4_h_bz_TNT"};
  EXPECT_THAT(timed->measure(product(1, WeightFormat::kBf16))->kernel_source, HasSubstr("nvjet"));
  saw->kernels = {"dsaperf::kernels::sm90::quantise_groups_kernel()"};
  EXPECT_THAT(timed->measure(product(1, WeightFormat::kFp8Block)).error().message(),
              HasSubstr("no kernel that is known to multiply"));
}

}  // namespace
}  // namespace dsaperf::collect
