#include "dsaperf/kernels/cache_write.hpp"

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/testing/bf16_tensor.hpp"

#include <gtest/gtest.h>

#include <cstring>

namespace dsaperf::kernels {
namespace {

using testing::normal_bf16;

constexpr std::uint8_t kPoison = 0xcd;

struct Tokens {
  std::vector<std::uint16_t> latent = normal_bf16(3 * kLatentDim, 1);
  std::vector<std::uint16_t> rope = normal_bf16(3 * kRopeDim, 2);
  std::vector<std::int64_t> slots = {5, -1, 2};

  KvCacheWriteParams params(std::vector<std::uint8_t>& cache, KvRows::Format format,
                            std::int64_t row_stride) const {
    return {.latent = latent.data(),
            .rope = rope.data(),
            .slots = slots.data(),
            .cache = cache.data(),
            .tokens = 3,
            .rows = static_cast<std::int64_t>(cache.size()) / row_stride,
            .latent_stride = kLatentDim,
            .rope_stride = kRopeDim,
            .row_stride_bytes = row_stride,
            .format = format};
  }
};

TEST(KvCacheWriteReferenceTest, Bf16RowsAreCopiedAndOtherRowsUntouched) {
  const Tokens tokens;
  std::vector<std::uint8_t> cache(8 * kKvRowBytesBf16, kPoison);
  ASSERT_TRUE(
      kv_cache_write_reference(tokens.params(cache, KvRows::Format::kBf16, kKvRowBytesBf16)));
  EXPECT_EQ(std::memcmp(&cache[5 * 1152], tokens.latent.data(), 1024), 0);
  EXPECT_EQ(std::memcmp(&cache[2 * 1152 + 1024], &tokens.rope[2 * 64], 128), 0);
  for (const int row : {0, 1, 3, 4, 6, 7})
    for (int i = 0; i < 1152; ++i) ASSERT_EQ(cache[row * 1152 + i], kPoison);
}

TEST(KvCacheWriteReferenceTest, Fp8RowsHaveValuesScalesAndRopeInThisOrder) {
  Tokens tokens;
  for (int d = 0; d < kLatentDim; ++d) tokens.latent[d] = bf16_from(d < 128 ? 448 : d / 128);
  std::vector<std::uint8_t> cache(8 * 672, kPoison);  // rows wider than 656
  ASSERT_TRUE(kv_cache_write_reference(tokens.params(cache, KvRows::Format::kFp8, 672)));
  const std::uint8_t* row = &cache[5 * 672];
  float scales[4];
  std::memcpy(scales, row + 512, sizeof scales);
  EXPECT_EQ(scales[0], 1);
  EXPECT_EQ(scales[1], 0x1p-8F) << "1 / 448 rounded up to a power of two";
  EXPECT_EQ(e4m3_to_float(row[0]) * scales[0], 448);
  EXPECT_EQ(e4m3_to_float(row[511]) * scales[3], 3);
  EXPECT_EQ(std::memcmp(row + 528, tokens.rope.data(), 128), 0);
  for (int i = 656; i < 672; ++i) EXPECT_EQ(row[i], kPoison);
}

TEST(KvCacheWriteReferenceTest, SlotsOutsideTheCacheAreSkipped) {
  Tokens tokens;
  tokens.slots = {8, -7, std::int64_t{1} << 40};
  std::vector<std::uint8_t> cache(8 * kKvRowBytesFp8, kPoison);
  ASSERT_TRUE(kv_cache_write_reference(tokens.params(cache, KvRows::Format::kFp8, kKvRowBytesFp8)));
  for (const auto byte : cache) ASSERT_EQ(byte, kPoison);
}

TEST(IndexKeyCacheWriteReferenceTest, APageHolds64KeysThenTheirScales) {
  std::vector<std::uint8_t> values(2 * kIndexDim, 3);
  std::fill(values.begin() + kIndexDim, values.end(), std::uint8_t{4});
  const std::vector<float> scales = {0.5F, 2};
  const std::vector<std::int64_t> slots = {63, 64 + 1};
  std::vector<std::uint8_t> pages(2 * kIndexPageBytes, kPoison);
  ASSERT_TRUE(index_key_cache_write_reference({.values = values.data(),
                                               .scales = scales.data(),
                                               .slots = slots.data(),
                                               .pages = pages.data(),
                                               .tokens = 2,
                                               .page_count = 2,
                                               .page_stride_bytes = kIndexPageBytes}));
  std::vector<std::uint8_t> expected(2 * kIndexPageBytes, kPoison);
  std::fill_n(&expected[63 * 128], 128, std::uint8_t{3});
  std::fill_n(&expected[8448 + 128], 128, std::uint8_t{4});
  std::memcpy(&expected[8192 + 63 * 4], &scales[0], 4);
  std::memcpy(&expected[8448 + 8192 + 4], &scales[1], 4);
  EXPECT_EQ(pages, expected);
}

TEST(CacheWriteCheckTest, RefusesRowsNarrowerThanTheirFormat) {
  const Tokens tokens;
  std::vector<std::uint8_t> cache(8 * kKvRowBytesBf16);
  EXPECT_FALSE(kv_cache_write_check(tokens.params(cache, KvRows::Format::kBf16, 1151)));
  EXPECT_FALSE(kv_cache_write_check(tokens.params(cache, KvRows::Format::kFp8, 655)));
  EXPECT_FALSE(index_key_cache_write_check({.tokens = 1, .page_count = 1}));
  EXPECT_TRUE(index_key_cache_write_check({.tokens = 0, .page_count = 1}));
}

}  // namespace
}  // namespace dsaperf::kernels
