// The kernels that work row by row, each of their variants on emulated CTAs.
#include "dsaperf/kernels/rows/cache.cuh"
#include "dsaperf/kernels/rows/norm.cuh"
#include "dsaperf/kernels/rows/norm_rope.cuh"
#include "dsaperf/kernels/rows/quantise.cuh"
#include "dsaperf/kernels/rows/rope.cuh"
#include "dsaperf/kernels/testing/row_stage_cases.hpp"
#include "emulated_cuda.hpp"

#include <gtest/gtest.h>

namespace dsaperf::kernels::rows {
namespace {

using namespace kernels::testing;

template <typename T>
class Memory {
 public:
  explicit Memory(const std::vector<T>& values)
      : blocks_(values.size() * sizeof(T) / 16 + 1), size_(values.size()) {
    std::copy(values.begin(), values.end(), data());
  }
  T* data() { return blocks_[0].values; }
  std::vector<T> values() { return {data(), data() + size_}; }

 private:
  struct alignas(16) Block {
    T values[16 / sizeof(T)];
  };
  std::vector<Block> blocks_;
  std::size_t size_;
};

// All launch as many threads a CTA.
constexpr int kThreads = kNormThreads;
static_assert(kThreads == kRopeThreads && kThreads == kQuantiseThreads &&
              kThreads == kCacheThreads);

void launch(int grid, const std::function<void()>& kernel) {
  emulated::launch(grid, kThreads, 1, 1, kernel);
}

template <int kTeam, int kPieces, int kTimes>
void expect_norms_of_team(int rows, int dim) {
  for (const int grid : {1, 3})
    expect_norms<Memory>(rows, dim, [&]<typename Params>(const Params& params) {
      launch(grid, [&] { norm_kernel<kTeam, kPieces, kTimes>(params); });
    });
}

TEST(RowsEmulatedTest, NormsOfEveryTeamAgreeAndLeaveTheGapsAlone) {
  expect_norms_of_team<1, 1, 1>(9, 128);
  expect_norms_of_team<1, 1, 4>(70, 248);
  expect_norms_of_team<2, 1, 1>(5, 512);
  expect_norms_of_team<4, 1, 4>(9, 768);
  expect_norms_of_team<8, 1, 1>(2, 1536);
  expect_norms_of_team<8, 1, 4>(7, 2048);
  expect_norms_of_team<8, 4, 1>(3, 7168);
  expect_norms<Memory>(
      3, 100, [](const auto& params) { launch(1, [&] { norm_by_value_kernel(params); }); });
}

TEST(RowsEmulatedTest, RopeTurnsBothPairingsInPlaceAndFromElsewhere) {
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit}) {
    expect_rope<Memory>(pairs, [](const auto& p) { launch(2, [&] { rope_kernel<true>(p); }); });
    expect_rope<Memory>(pairs, [](const auto& p) { launch(2, [&] { rope_kernel<false>(p); }); });
  }
}

template <bool kWhole, int kTimes>
void expect_groups_by(int dim) {
  expect_groups<Memory>(dim, [](const auto& params) {
    launch(3, [&] { quantise_groups_kernel<kWhole, kTimes>(params); });
  });
}

TEST(RowsEmulatedTest, QuantisedGroupsAreTheHostsBytes) {
  expect_groups_by<true, 1>(128);
  expect_groups_by<true, 4>(1536);
  expect_groups_by<true, 1>(200);
  expect_groups_by<false, 1>(131);
  expect_groups_by<false, 4>(1000);
}

TEST(RowsEmulatedTest, ScalesAreTheHostsAtEveryExponentAndAroundTheStep) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  std::vector<float> magnitudes = {
      0, 1e-5F, 1e-4F, std::nextafter(1e-4F, 1.0F), std::numeric_limits<float>::max(), kInfinity};
  for (int exponent = -20; exponent < 128; ++exponent) {
    const float step = std::ldexp(0.875F, exponent);
    for (const float magnitude : {step, std::nextafter(step, 0.0F), std::nextafter(step, kInfinity),
                                  std::ldexp(0.5F, exponent), std::ldexp(0.99F, exponent)})
      magnitudes.push_back(magnitude);
  }
  for (const auto format : {ScaleFormat::kUe8m0, ScaleFormat::kF32})
    for (const float magnitude : magnitudes)
      EXPECT_EQ(group_scale(magnitude, format), e4m3_scale(magnitude, format)) << magnitude;
}

template <bool kWhole, int kTimes>
void expect_index_rows_by(std::int64_t queries, std::int64_t keys) {
  expect_index_rows<Memory>(queries, keys, [](const auto& first, const auto& second) {
    launch(3, [&] { indexer_quantise_kernel<kWhole, kTimes>(first, second, 2); });
  });
}

TEST(RowsEmulatedTest, IndexQueriesAndKeysOfOneLaunchAgreeToOneCode) {
  expect_index_rows_by<true, 1>(67, 5);
  expect_index_rows_by<true, 2>(200, 70);
  expect_index_rows_by<false, 1>(3, 40);
  expect_index_rows_by<true, 1>(33, 0);
}

TEST(RowsEmulatedTest, CacheRowsAreTheHostsBytesAndNothingElseIsTouched) {
  for (const auto format : {KvRows::Format::kBf16, KvRows::Format::kFp8}) {
    expect_cache_rows<Memory>(
        format, [](const auto& p) { launch(2, [&] { kv_cache_write_kernel<true>(p); }); });
    expect_cache_rows<Memory>(
        format, [](const auto& p) { launch(2, [&] { kv_cache_write_kernel<false>(p); }); });
  }
}

template <bool kWhole>
void expect_index_keys_by() {
  expect_index_keys<Memory>(
      [](const auto& p) { launch(3, [&] { index_key_cache_write_kernel<kWhole>(p); }); },
      [](const auto& p) { launch(3, [&] { gather_index_keys_kernel<kWhole>(p); }); });
}

TEST(RowsEmulatedTest, IndexKeysGoIntoTheirPagesAndComeOut) {
  expect_index_keys_by<true>();
  expect_index_keys_by<false>();
}

TEST(RowsEmulatedTest, Fp8RowsBecomeTheBf16RowsThatAttentionMakesOfThem) {
  for (const int grid : {1, 6})
    expect_rows_to_bf16<Memory>(
        [grid](const auto& p) { launch(grid, [&] { rows_to_bf16_kernel(p); }); });
}

TEST(RowsEmulatedTest, PositionsBecomeRowsOfTheCache) {
  expect_selection_rows<Memory>(
      [](const auto& p) { launch(1, [&] { selection_rows_kernel<true>(p); }); });
  expect_selection_rows<Memory>(
      [](const auto& p) { launch(1, [&] { selection_rows_kernel<false>(p); }); });
}

template <int kTimes>
void expect_norm_rope(int tokens, int q_lora) {
  expect_norm_rope_of_parts<Memory>(
      tokens, q_lora,
      [](const NormRopeParams& p) {
        launch(2, [&] { norm_kernel<kQueryTeam, 1, 1>(p.query); });
        launch(2, [&] { quantise_groups_kernel<true, 1>(p.quantised); });
        launch(2, [&] { norm_kernel<kLatentTeam, 1, 1>(p.latent); });
        launch(1, [&] { rope_kernel<true>(p.key); });
      },
      [](const NormRopeParams& p) {
        launch(5, [&] { norm_rope_kernel<kTimes>(p, {.first = 2, .second = 2}); });
      });
}

TEST(RowsEmulatedTest, NormsRopeAndQuantisationOfOneLaunchAreThoseOfTheParts) {
  expect_norm_rope<1>(1, 1536);
  expect_norm_rope<1>(5, 2048);
  expect_norm_rope<4>(11, 1400);
}

TEST(RowsEmulatedTest, IndexRopesAndNormOfOneLaunchAreThoseOfTheParts) {
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit})
    expect_indexer_norm_rope_of_parts<Memory>(
        13, pairs,
        [](const IndexerNormRopeParams& p) {
          launch(2, [&] { rope_kernel<true>(p.query); });
          launch(1, [&] { norm_kernel<kIndexKeyTeam, 1, 1>(p.key_norm); });
          launch(1, [&] { rope_kernel<true>(p.key); });
        },
        [](const IndexerNormRopeParams& p) {
          launch(3, [&] { indexer_norm_rope_kernel<1>(p, 2); });
        });
}

TEST(RowsEmulatedTest, IndexKeysOfOneLaunchAreThoseOfTheParts) {
  for (const auto pairs : {RopePairs::kInterleaved, RopePairs::kHalfSplit})
    for (const int tokens : {1, 13, 70})
      expect_index_key_write_of_parts<Memory>(
          tokens, pairs,
          [](const IndexKeyWriteParams& p) {
            launch(2, [&] { norm_kernel<kIndexKeyTeam, 1, 1>(p.norm); });
            launch(1, [&] { rope_kernel<true>(p.rope); });
            launch(2, [&] { indexer_quantise_kernel<true, 1>(p.quantised, {}, 2); });
            launch(1, [&] { index_key_cache_write_kernel<true>(p.write); });
          },
          [](const IndexKeyWriteParams& p) {
            launch(2, [&] { index_key_norm_cache_write_kernel<1>(p); });
          });
}

}  // namespace
}  // namespace dsaperf::kernels::rows
