#include "dsaperf/kernels/variants.hpp"

#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/topk.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>
#include <vector>

namespace dsaperf::kernels {
namespace {

using gpu::DeviceArray;

// Kernels that start early wait for the one before: a chain of scores and selections over one
// buffer of scores gives what each step gives alone.
TEST(VariantsGpuTest, EarlyKernelsInTurnSeeWhatTheOneBeforeWroteAndNothingLater) {
  DSAPERF_REQUIRE_GPU();
  constexpr int kHeads = 64;
  constexpr int kTopk = 512;
  constexpr int kSteps = 24;
  constexpr std::int64_t kPages = 128;
  constexpr std::int64_t kColumns = kPages * kPageTokens;
  std::mt19937 engine(51);
  std::normal_distribution<double> normal;
  std::vector<std::uint8_t> bytes(kPages * kIndexPageBytes), queries(kSteps * kHeads * kIndexDim);
  for (auto& value : bytes) value = e4m3_from(normal(engine));
  for (auto& value : queries) value = e4m3_from(normal(engine));
  const std::vector<float> ones(kPageTokens, 1);
  for (std::int64_t page = 0; page < kPages; ++page)
    std::memcpy(&bytes[page * kIndexPageBytes + kIndexPageScaleOffset], ones.data(),
                kPageTokens * sizeof(float));
  std::vector<std::int32_t> table(kPages);
  std::iota(table.begin(), table.end(), 0);
  std::vector<std::int32_t> lengths(kSteps);
  for (int i = 0; i < kSteps; ++i) lengths[i] = static_cast<std::int32_t>(kColumns - 97 * i);

  const auto pages = DeviceArray<std::uint8_t>::copy_of(bytes).value();
  const auto q = DeviceArray<std::uint8_t>::copy_of(queries).value();
  const auto weights = DeviceArray<float>::copy_of(std::vector<float>(kHeads, 0.5F)).value();
  const auto d_table = DeviceArray<std::int32_t>::copy_of(table).value();
  const auto d_lengths = DeviceArray<std::int32_t>::copy_of(lengths).value();
  const auto scores = DeviceArray<float>::uninitialized(kColumns).value();
  const auto stream = gpu::Stream::create().value();

  const auto run = [&](Variant of_scores, Variant of_topk, bool in_turn) {
    auto indices = DeviceArray<std::int32_t>::filled_with_byte(kSteps * kTopk, 0xcd).value();
    for (int i = 0; i < kSteps; ++i) {
      EXPECT_TRUE(paged_indexer_scores_variant({.q = q.data() + i * kHeads * kIndexDim,
                                                .weights = weights.data(),
                                                .pages = pages.data(),
                                                .block_table = d_table.data(),
                                                .context_length = d_lengths.data() + i,
                                                .scores = scores.data(),
                                                .batch = 1,
                                                .heads = kHeads,
                                                .dim = kIndexDim,
                                                .max_context = kColumns,
                                                .page_stride_bytes = kIndexPageBytes,
                                                .block_table_stride = kPages,
                                                .scores_stride = kColumns},
                                               of_scores, stream.get()));
      if (!in_turn) {
        EXPECT_TRUE(stream.synchronize());
      }
      EXPECT_TRUE(topk_variant({.scores = scores.data(),
                                .end = d_lengths.data() + i,
                                .indices = indices.data() + i * kTopk,
                                .rows = 1,
                                .columns = kColumns,
                                .topk = kTopk,
                                .scores_stride = kColumns,
                                .indices_stride = kTopk},
                               of_topk, nullptr, 0, stream.get()));
      if (!in_turn) {
        EXPECT_TRUE(stream.synchronize());
      }
    }
    EXPECT_TRUE(stream.synchronize());
    return indices.to_host().value();
  };
  const auto expected = run(Variant::kDefault, Variant::kDefault, false);
  for (int repeat = 0; repeat < 10; ++repeat) {
    for (const Variant topk : {Variant::kSpread512x4, Variant::kSpread512x8, Variant::kSpread512x16,
                               Variant::kSpread1024x8, Variant::kSpread1024x16})
      EXPECT_EQ(run(Variant::kEarly, topk, true), expected) << name(topk);
    EXPECT_EQ(run(Variant::kEarly, Variant::kDefault, true), expected);
    EXPECT_EQ(run(Variant::kDefault, Variant::kSpread512x4, true), expected);
  }
}

}  // namespace
}  // namespace dsaperf::kernels
