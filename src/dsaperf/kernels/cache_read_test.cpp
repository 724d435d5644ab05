#include "dsaperf/kernels/cache_read.hpp"

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/testing/row_stage_cases.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

namespace dsaperf::kernels {
namespace {

TEST(GatherIndexKeysReferenceTest, FollowsTheBlockTable) {
  std::vector<std::uint8_t> pages(3 * kIndexPageBytes);
  for (int page = 0; page < 3; ++page) {
    for (int slot = 0; slot < 64; ++slot) {
      pages[page * kIndexPageBytes + slot * 128] = static_cast<std::uint8_t>(page * 64 + slot);
      const auto scale = static_cast<float>(1000 * page + slot);
      std::memcpy(&pages[page * kIndexPageBytes + kIndexPageScaleOffset + 4 * slot], &scale, 4);
    }
  }
  const std::vector<std::int32_t> table = {2, 0};
  std::vector<std::uint8_t> values(66 * 128, 0xcd);
  std::vector<float> scales(66, -1);
  GatherIndexKeysParams params = {.pages = pages.data(),
                                  .block_table = table.data(),
                                  .values = values.data(),
                                  .scales = scales.data(),
                                  .tokens = 65,
                                  .page_count = 3,
                                  .page_stride_bytes = kIndexPageBytes};
  ASSERT_TRUE(gather_index_keys_reference(params));
  EXPECT_EQ(values[63 * 128], 2 * 64 + 63);
  EXPECT_EQ(values[64 * 128], 0);
  EXPECT_EQ(values[65 * 128], 0xcd) << "not asked for";
  EXPECT_EQ(scales[63], 2063);
  EXPECT_EQ(scales[65], -1);
  params.page_count = 2;
  EXPECT_FALSE(gather_index_keys_reference(params)) << "page 2 is not in the cache";
}

TEST(SelectionRowsReferenceTest, TranslatesThroughTheRequestsOwnTable) {
  const std::vector<std::int32_t> positions = {0, 64, -1, 129, /**/ 63, 127, 128, -1};
  const std::vector<std::int32_t> request = {1, 0};
  const std::vector<std::int32_t> table = {5, 6, /**/ 9, 7};
  std::vector<std::int32_t> rows(8);
  ASSERT_TRUE(selection_rows_reference({.positions = positions.data(),
                                        .request = request.data(),
                                        .block_table = table.data(),
                                        .rows = rows.data(),
                                        .tokens = 2,
                                        .topk = 4,
                                        .positions_stride = 4,
                                        .rows_stride = 4,
                                        .block_table_stride = 2}));
  EXPECT_EQ(rows, (std::vector<std::int32_t>{9 * 64, 7 * 64, -1, -1, /**/ 5 * 64 + 63, 6 * 64 + 63,
                                             -1, -1}));
}

// What the kernels are held to runs on host memory too.
template <typename T>
class HostMemory {
 public:
  explicit HostMemory(std::vector<T> values) : values_(std::move(values)) {}
  T* data() { return values_.data(); }
  const std::vector<T>& values() const { return values_; }

 private:
  std::vector<T> values_;
};

TEST(RowsToBf16ReferenceTest, EveryCodeTimesItsScaleRoundedOnce) {
  testing::expect_rows_to_bf16<HostMemory>(
      [](const auto& params) { ASSERT_TRUE(rows_to_bf16_reference(params)); });
}

TEST(CacheReadCheckTest, RefusesWhatContradictsItself) {
  constexpr auto kFp8 = KvRows::Format::kFp8;
  EXPECT_TRUE(rows_to_bf16_check({.cache = {.format = kFp8}}));
  EXPECT_FALSE(rows_to_bf16_check({}));
  EXPECT_FALSE(rows_to_bf16_check({.cache = {.format = kFp8}, .page_count = -1}));
  EXPECT_FALSE(rows_to_bf16_check({.cache = {.format = kFp8}, .page_count = 1}));
  std::vector<std::uint8_t> bytes(64 * 1152);
  const std::int32_t page = 0;
  RowsToBf16Params params{
      .cache = {.data = bytes.data(), .format = kFp8, .rows = 64, .row_stride_bytes = 655},
      .pages = &page,
      .out = bytes.data(),
      .page_count = 1};
  EXPECT_FALSE(rows_to_bf16_check(params));
  params.cache.row_stride_bytes = 656;
  EXPECT_TRUE(rows_to_bf16_check(params));

  EXPECT_FALSE(gather_index_keys_check({.tokens = 1}));
  EXPECT_TRUE(gather_index_keys_check({}));
  EXPECT_FALSE(selection_rows_check({.tokens = 1, .topk = 1}));
  EXPECT_FALSE(selection_rows_check({.topk = 0}));
}

}  // namespace
}  // namespace dsaperf::kernels
