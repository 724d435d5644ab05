#include "dsaperf/gpu/device_array.hpp"
#include "dsaperf/gpu/stream.hpp"
#include "dsaperf/gpu/testing/require_gpu.hpp"
#include "dsaperf/kernels/testing/row_stage_cases.hpp"

#include <gtest/gtest.h>

namespace dsaperf::kernels {
namespace {

template <typename T>
class Memory {
 public:
  explicit Memory(const std::vector<T>& values)
      : array_(std::move(*gpu::DeviceArray<T>::copy_of(values))) {}
  T* data() { return array_.data(); }
  std::vector<T> values() { return *array_.to_host(); }

 private:
  gpu::DeviceArray<T> array_;
};

void finish(const Result<void>& launched) {
  ASSERT_TRUE(launched) << launched.error().message();
  ASSERT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

struct Norm {
  void operator()(const RmsNormParams& params) const { finish(rms_norm(params, nullptr)); }
  void operator()(const LayerNormParams& params) const { finish(layer_norm(params, nullptr)); }
};

// One for each way that a row is shared by threads, with few rows and with more than the GPU holds
// at once.
TEST(RowStagesGpuTest, NormsAgreeAndLeaveTheGapsBetweenRowsAlone) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& [rows, dim] : {std::pair{1, 128},
                                  {9000, 128},
                                  {7, 512},
                                  {9, 1000},
                                  {300, 1536},
                                  {1100, 2048},
                                  {2, 7168},
                                  {3, 100},
                                  {2, 9000}})
    testing::expect_norms<Memory>(rows, dim, Norm());
}

TEST(RowStagesGpuTest, RopeTurnsBothPairingsAtAnyPosition) {
  DSAPERF_REQUIRE_GPU();
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit})
    testing::expect_rope<Memory>(pairs, [](const auto& params) { finish(rope(params, nullptr)); });
}

TEST(RowStagesGpuTest, QuantisedGroupsAreTheHostsBytes) {
  DSAPERF_REQUIRE_GPU();
  for (const int dim : {128, 131, 192, 1536, 7168, 256 * 1024})
    testing::expect_groups<Memory>(
        dim, [](const auto& params) { finish(quantise_groups(params, nullptr)); });
}

TEST(RowStagesGpuTest, IndexQueriesAndTheirWeightsAgreeToOneCode) {
  DSAPERF_REQUIRE_GPU();
  testing::expect_index_rows<Memory>(
      640, 0, [](const auto& queries, const auto&) { finish(indexer_quantise(queries, nullptr)); });
}

TEST(RowStagesGpuTest, IndexQueriesAndKeysOfOneLaunchAgreeToOneCode) {
  DSAPERF_REQUIRE_GPU();
  for (const auto& [queries, keys] : {std::pair{64, 1}, {600, 40}})
    testing::expect_index_rows<Memory>(queries, keys, [](const auto& first, const auto& second) {
      finish(indexer_quantise_both(first, second, nullptr));
    });
}

// The bits of a row don't depend on how many there are: many take another kernel.
TEST(RowStagesGpuTest, ManyIndexRowsHaveTheBitsOfFew) {
  DSAPERF_REQUIRE_GPU();
  constexpr std::int64_t kFew = 33, kMany = 40000;
  Memory<std::uint16_t> x(testing::normal_bf16(kMany * 128, 4, 2));
  const auto codes = [&](std::int64_t rows) {
    Memory<std::uint8_t> values(std::vector<std::uint8_t>(rows * 128));
    Memory<float> scales(std::vector<float>(rows, -1));
    finish(indexer_quantise({.x = x.data(),
                             .values = values.data(),
                             .scales = scales.data(),
                             .rows = rows,
                             .x_stride = 128},
                            nullptr));
    auto first = values.values();
    first.resize(kFew * 128);
    return first;
  };
  EXPECT_EQ(codes(kMany), codes(kFew));
}

TEST(RowStagesGpuTest, NormsAndRopeOfOneLaunchHaveTheBitsOfTheirParts) {
  DSAPERF_REQUIRE_GPU();
  // Few and many tokens; the last length has no launch of its own.
  for (const auto& [tokens, q_lora] : {std::pair{1, 1536}, {130, 2048}, {1500, 1536}, {5, 96}})
    testing::expect_norm_rope_of_parts<Memory>(
        tokens, q_lora,
        [](const NormRopeParams& params) {
          finish(rms_norm(params.query, nullptr));
          finish(quantise_groups(params.quantised, nullptr));
          finish(rms_norm(params.latent, nullptr));
          finish(rope(params.key, nullptr));
        },
        [](const NormRopeParams& params) { finish(norm_rope(params, nullptr)); });
}

TEST(RowStagesGpuTest, IndexRopesAndNormOfOneLaunchHaveTheBitsOfTheirParts) {
  DSAPERF_REQUIRE_GPU();
  for (const int tokens : {1, 77, 1500})
    for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit})
      testing::expect_indexer_norm_rope_of_parts<Memory>(
          tokens, pairs,
          [](const IndexerNormRopeParams& params) {
            finish(rope(params.query, nullptr));
            finish(layer_norm(params.key_norm, nullptr));
            finish(rope(params.key, nullptr));
          },
          [](const IndexerNormRopeParams& params) { finish(indexer_norm_rope(params, nullptr)); });
}

TEST(RowStagesGpuTest, IndexKeysOfOneLaunchHaveTheBitsOfTheirParts) {
  DSAPERF_REQUIRE_GPU();
  for (const int tokens : {1, 77, 1500})
    for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit})
      testing::expect_index_key_write_of_parts<Memory>(
          tokens, pairs,
          [](const IndexKeyWriteParams& params) {
            finish(layer_norm(params.norm, nullptr));
            finish(rope(params.rope, nullptr));
            finish(indexer_quantise(params.quantised, nullptr));
            finish(index_key_cache_write(params.write, nullptr));
          },
          [](const IndexKeyWriteParams& params) { finish(index_key_write(params, nullptr)); });
}

TEST(RowStagesGpuTest, CacheRowsAreTheHostsBytesAndNothingElseIsTouched) {
  DSAPERF_REQUIRE_GPU();
  for (const auto format : {KvRows::Format::kBf16, KvRows::Format::kFp8})
    testing::expect_cache_rows<Memory>(
        format, [](const auto& params) { finish(kv_cache_write(params, nullptr)); });
}

TEST(RowStagesGpuTest, IndexKeysGoIntoTheirPagesAndComeOut) {
  DSAPERF_REQUIRE_GPU();
  testing::expect_index_keys<Memory>(
      [](const auto& params) { finish(index_key_cache_write(params, nullptr)); },
      [](const auto& params) { finish(gather_index_keys(params, nullptr)); });
}

TEST(RowStagesGpuTest, Fp8RowsBecomeTheBf16RowsThatAttentionMakesOfThem) {
  DSAPERF_REQUIRE_GPU();
  testing::expect_rows_to_bf16<Memory>(
      [](const auto& params) { finish(rows_to_bf16(params, nullptr)); });
}

TEST(RowStagesGpuTest, RowsThatDoNotStartAtSixteenBytesAreRefusedWhereTheyBecomeBf16) {
  DSAPERF_REQUIRE_GPU();
  Memory<std::uint8_t> memory(std::vector<std::uint8_t>(64 * 1152 + 664 * 64));
  Memory<std::int32_t> pages({0});
  const RowsToBf16Params params{.cache = {.data = memory.data() + 64 * 1152,
                                          .format = KvRows::Format::kFp8,
                                          .rows = 64,
                                          .row_stride_bytes = 664},
                                .pages = pages.data(),
                                .out = memory.data(),
                                .page_count = 1};
  ASSERT_TRUE(rows_to_bf16_check(params));
  EXPECT_EQ(rows_to_bf16(params, nullptr).error().code(), Errc::kInvalidArgument);
}

TEST(RowStagesGpuTest, PositionsBecomeRowsOfTheCache) {
  DSAPERF_REQUIRE_GPU();
  testing::expect_selection_rows<Memory>(
      [](const auto& params) { finish(selection_rows(params, nullptr)); });
}

TEST(RowStagesGpuTest, NothingToDoIsNoError) {
  DSAPERF_REQUIRE_GPU();
  EXPECT_TRUE(rms_norm({.dim = 128, .eps = 1e-6F}, nullptr));
  EXPECT_TRUE(kv_cache_write({}, nullptr));
  EXPECT_TRUE(gather_index_keys({}, nullptr));
  EXPECT_TRUE(rows_to_bf16({.cache = {.format = KvRows::Format::kFp8}}, nullptr));
  EXPECT_TRUE(indexer_quantise_both({}, {}, nullptr));
}

}  // namespace
}  // namespace dsaperf::kernels
