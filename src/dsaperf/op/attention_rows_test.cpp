#include "dsaperf/op/attention_rows.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

namespace dsaperf::op {
namespace {

using ::testing::ElementsAre;

constexpr auto kFp8 = kernels::KvRows::Format::kFp8;
constexpr PassOptions kWhereTheyFit = {.bf16_rows = PassOptions::Bf16Rows::kWhereTheyFit};

struct Lengths {
  std::int64_t past, added;
};

// What DsaLayer::prepare knows when attention is planned; pages of requests follow each other.
ForwardPass pass_of(const std::vector<Lengths>& requests, std::int64_t longest = 0) {
  ForwardPass pass;
  pass.selected = 64;
  pass.lengths_change = longest > 0;
  pass.longest = longest;
  for (const auto& [past, added] : requests) {
    pass.requests.push_back({.first_token = pass.tokens, .new_tokens = added, .past = past});
    for (std::int64_t i = 0; i < added; ++i)
      pass.visible.push_back(static_cast<std::int32_t>(past + i + 1));
    pass.tokens += added;
    pass.longest = std::max(pass.longest, past + added);
  }
  pass.block_table_stride = (pass.longest + 63) / 64;
  pass.block_table.resize(pass.requests.size() * pass.block_table_stride);
  std::iota(pass.block_table.begin(), pass.block_table.end(), 100);
  return pass;
}

TEST(AttentionRowsTest, RowsOfABf16CacheAreReadWhereTheyAre) {
  auto pass = pass_of({{100, 30}});
  plan_attention(*reference_backend(), kernels::KvRows::Format::kBf16, kWhereTheyFit, pass);
  set_attention_pages(pass);
  ASSERT_EQ(pass.attention_parts.size(), 1U);
  EXPECT_FALSE(pass.attention_parts[0].bf16_rows);
  EXPECT_EQ(bf16_pages_at_once(pass), 0);
  EXPECT_EQ(pass.attention_table(), pass.block_table);
}

TEST(AttentionRowsTest, TheHostNeverFindsItFaster) {
  auto pass = pass_of({{0, 4000}});
  plan_attention(*cpu_backend(1), kFp8, {}, pass);
  EXPECT_EQ(bf16_pages_at_once(pass), 0);
}

TEST(AttentionRowsTest, PagesOfAllRequestsThatHaveNewTokensFollowEachOther) {
  auto pass = pass_of({{60, 10}, {500, 0}, {0, 1}});
  plan_attention(*reference_backend(), kFp8, kWhereTheyFit, pass);
  set_attention_pages(pass);
  ASSERT_EQ(pass.attention_parts.size(), 1U);
  EXPECT_EQ(bf16_pages_at_once(pass), 3);
  EXPECT_THAT(pass.bf16_pages, ElementsAre(100, 101, 100 + 2 * pass.block_table_stride));
  EXPECT_EQ(pass.row_table[0], 0);
  EXPECT_EQ(pass.row_table[1], 1);
  EXPECT_EQ(pass.row_table[2 * pass.block_table_stride], 2);
}

TEST(AttentionRowsTest, PartsUseTheSameMemoryOneAfterTheOther) {
  auto pass = pass_of({{60, 10}, {60, 11}, {60, 12}});
  auto options = kWhereTheyFit;
  options.score_bytes = 4 * 64 * 1152;
  plan_attention(*reference_backend(), kFp8, options, pass);
  set_attention_pages(pass);
  ASSERT_EQ(pass.attention_parts.size(), 2U);
  EXPECT_EQ(pass.attention_parts[0].tokens, 21);
  EXPECT_EQ(pass.attention_parts[1].first_token, 21);
  EXPECT_EQ(pass.attention_parts[1].first_page, 4);
  EXPECT_EQ(pass.attention_parts[1].pages, 2);
  EXPECT_THAT(pass.row_table, ElementsAre(0, 1, 2, 3, 0, 1));
  EXPECT_THAT(pass.bf16_pages, ElementsAre(100, 101, 102, 103, 104, 105));
  EXPECT_EQ(bf16_pages_at_once(pass), 4);
}

TEST(AttentionRowsTest, APartThatReadsTheCacheFollowsItsPages) {
  auto pass = pass_of({{60, 10}, {260, 10}});
  auto options = kWhereTheyFit;
  options.score_bytes = 4 * 64 * 1152;  // the second has five pages
  plan_attention(*reference_backend(), kFp8, options, pass);
  set_attention_pages(pass);
  ASSERT_EQ(pass.attention_parts.size(), 2U);
  EXPECT_FALSE(pass.attention_parts[1].bf16_rows);
  const auto rows = [&](const std::vector<std::int32_t>& table) {
    return std::vector<std::int32_t>(table.begin() + pass.block_table_stride, table.end());
  };
  EXPECT_EQ(rows(pass.row_table), rows(pass.block_table));
  pass.block_table.back() = 7;
  set_attention_pages(pass);
  EXPECT_EQ(rows(pass.row_table), rows(pass.block_table));
  EXPECT_EQ(pass.row_table[0], 0);
  EXPECT_EQ(pass.row_table[1], 1);
}

TEST(AttentionRowsTest, WhereLengthsChangePlacesAreThoseOfTheLongest) {
  auto pass = pass_of({{60, 10}, {10, 10}}, 200);
  plan_attention(*reference_backend(), kFp8, kWhereTheyFit, pass);
  set_attention_pages(pass);
  EXPECT_THAT(pass.bf16_pages, ElementsAre(100, 101, -1, -1, 104, -1, -1, -1));
  EXPECT_THAT(pass.row_table, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  for (auto& request : pass.requests) request.past += 110;
  set_attention_pages(pass);
  EXPECT_THAT(pass.bf16_pages, ElementsAre(100, 101, 102, -1, 104, 105, 106, -1));
  EXPECT_THAT(pass.row_table, ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
}

}  // namespace
}  // namespace dsaperf::op
