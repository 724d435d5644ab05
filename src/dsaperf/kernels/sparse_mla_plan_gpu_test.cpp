#include "dsaperf/kernels/sm90/sparse_mla/shape.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace dsaperf::kernels {
namespace {

using Format = KvRows::Format;

// Clusters of c CTAs that an H200 holds (132 SMs in groups of 16 and 18 and one of 14): [c - 1].
constexpr int kH200[16] = {132, 66, 42, 31, 24, 22, 16, 15, 14, 8, 8, 8, 8, 8, 7, 7};

TEST(SparseMlaPlanTest, CoversEveryTokenOnceAndFitsItsRounds) {
  for (const int heads : {8, 64, 128})
    for (const std::int64_t tokens :
         {1, 2, 7, 16, 31, 32, 64, 100, 132, 133, 264, 1000, 4096, 8193})
      for (const int blocks : {1, 2, 32}) {
        const auto plan = sm90::sparse_mla::choose_plan(tokens, heads, blocks, Format::kFp8, kH200);
        std::int64_t covered = 0;
        for (const auto& launch : plan.launches) {
          if (launch.tokens == 0) continue;
          EXPECT_EQ(launch.first_token, covered);
          covered += launch.tokens;
          EXPECT_LE(launch.shape.cluster, std::max(blocks, 1));
          EXPECT_GT(launch.shape.grid, 0);
          EXPECT_EQ(launch.shape.grid % launch.shape.cluster, 0);
        }
        EXPECT_EQ(covered, tokens) << heads << " heads, " << tokens << " tokens";
      }
}

TEST(SparseMlaPlanTest, FewTokensShareTheirListsAndManyDoNot) {
  using sm90::sparse_mla::choose_plan;
  EXPECT_EQ(choose_plan(1, 64, 32, Format::kFp8, kH200).launches[0].shape.cluster, 16);
  EXPECT_EQ(choose_plan(128, 64, 32, Format::kFp8, kH200).launches[0].shape.cluster, 1);
  // 32 clusters of 4 would need two rounds.
  EXPECT_NE(choose_plan(32, 64, 32, Format::kFp8, kH200).launches[0].shape.cluster, 4);
}

TEST(SparseMlaPlanTest, ALastRoundOfFewTokensIsSharedByAll) {
  const auto plan = sm90::sparse_mla::choose_plan(4096, 64, 32, Format::kBf16, kH200);
  EXPECT_EQ(plan.launches[0].tokens, 31 * 132);
  EXPECT_EQ(plan.launches[1].tokens, 4);
  EXPECT_GT(plan.launches[1].shape.cluster, 8);
}

}  // namespace
}  // namespace dsaperf::kernels
