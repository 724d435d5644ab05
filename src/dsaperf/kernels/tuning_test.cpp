#include "dsaperf/kernels/tuning.hpp"

#include "dsaperf/core/file.hpp"
#include "dsaperf/kernels/sm90/topk/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace dsaperf::kernels {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

TuningTable sample() {
  return {.device = "NVIDIA H200",
          .sm_count = 132,
          .commit = "abc",
          .entries = {{.kernel = TunedKernel::kSparseDecode,
                       .fp8 = true,
                       .heads = 64,
                       .rows_from = 1,
                       .rows_to = 5,
                       .columns_from = 1,
                       .columns_to = 4096,
                       .variant = Variant::kSplit,
                       .variant_us = 12.5,
                       .default_us = 17.4},
                      {.kernel = TunedKernel::kTopk,
                       .rows_from = 1,
                       .rows_to = 8,
                       .columns_from = 8193,
                       .columns_to = 40000,
                       .variant = Variant::kSpread512x4,
                       .variant_us = 7,
                       .default_us = 12},
                      {.kernel = TunedKernel::kPagedSelect,
                       .heads = 64,
                       .q_len = 1,
                       .rows_from = 65,
                       .rows_to = 256,
                       .columns_from = 16385,
                       .columns_to = 262144,
                       .variant = Variant::kFused,
                       .variant_us = 150,
                       .default_us = 160}}};
}

TEST(TuningTableTest, SurvivesItsFile) {
  const auto text = to_json(sample());
  const auto read = parse_tuning(text);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(to_json(*read), text);
}

TEST(TuningTableTest, ChoosesWithinTheRangesAndNowhereElse) {
  const auto table = sample();
  TunedShape shape{
      .kernel = TunedKernel::kSparseDecode, .fp8 = true, .heads = 64, .rows = 5, .columns = 2048};
  EXPECT_EQ(table.choose(shape), Variant::kSplit);
  shape.rows = 6;
  EXPECT_EQ(table.choose(shape), Variant::kDefault);
  shape.rows = 5;
  shape.heads = 128;
  EXPECT_EQ(table.choose(shape), Variant::kDefault);
  shape.heads = 64;
  shape.fp8 = false;
  EXPECT_EQ(table.choose(shape), Variant::kDefault);
  EXPECT_EQ(table.choose(
                {.kernel = TunedKernel::kPagedSelect, .heads = 64, .rows = 128, .columns = 131072}),
            Variant::kFused);
  EXPECT_EQ(TuningTable{}.choose(shape), Variant::kDefault);
}

TEST(TuningTableTest, DoesNotChooseWhatCannotRun) {
  // One block of 64 has no parts.
  EXPECT_EQ(sample().choose({.kernel = TunedKernel::kSparseDecode,
                             .fp8 = true,
                             .heads = 64,
                             .rows = 1,
                             .columns = 64}),
            Variant::kDefault);
}

TEST(TuningTableTest, RefusesWhatItCannotTrust) {
  const auto with = [](const std::string& from, const std::string& to) {
    auto text = to_json(sample());
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    return parse_tuning(text);
  };
  const auto message = [](const Result<TuningTable>& result) {
    return result ? std::string("accepted") : result.error().message();
  };
  EXPECT_THAT(message(parse_tuning("{")), HasSubstr("not JSON"));
  EXPECT_THAT(message(parse_tuning("[]")), HasSubstr("object"));
  EXPECT_THAT(message(with("dsaperf.tuning.1", "dsaperf.tuning.2")), HasSubstr("tuning.2"));
  EXPECT_THAT(message(with("\"split\"", "\"splitted\"")), HasSubstr("entry 0: variant"));
  EXPECT_THAT(message(with("\"topk\"", "\"sort\"")), HasSubstr("entry 1: kernel"));
  EXPECT_THAT(message(with("\"fp8\"", "\"fp4\"")), HasSubstr("kv"));
  EXPECT_THAT(message(with("\"heads\": 64", "\"heads\": \"64\"")), HasSubstr("heads"));
  EXPECT_THAT(message(with("\"sm_count\": 132", "\"sm_count\": 0")), HasSubstr("sm_count"));
  EXPECT_THAT(message(with("8193", "80000")), HasSubstr("no range"));
  EXPECT_THAT(message(with("12.5", "null")), HasSubstr("variant_us"));
}

TEST(TuningTableTest, RefusesEntriesThatOverlap) {
  auto table = sample();
  table.entries.push_back(table.entries[1]);
  table.entries[3].rows_from = 8;
  table.entries[3].rows_to = 100;
  const auto read = parse_tuning(to_json(table));
  ASSERT_FALSE(read);
  EXPECT_THAT(read.error().message(), HasSubstr("entry 3: overlaps entry 1"));
}

TEST(TuningFileTest, IsEmptyWhereThereIsNoneAndNamesAWrongOne) {
  const auto folder = std::filesystem::path(::testing::TempDir()) / "tuning_test_data";
  std::filesystem::remove_all(folder);
  const auto none = read_tuning(folder, "h200_sxm");
  ASSERT_TRUE(none);
  EXPECT_TRUE(none->entries.empty());
  ASSERT_TRUE(write_file(folder / "tuning" / "h200_sxm.json", to_json(sample())));
  EXPECT_EQ(read_tuning(folder, "h200_sxm")->entries.size(), 3U);
  ASSERT_TRUE(write_file(folder / "tuning" / "h200_sxm.json", "{}"));
  const auto wrong = read_tuning(folder, "h200_sxm");
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message(), HasSubstr("h200_sxm.json"));
  EXPECT_THAT(wrong.error().message(), HasSubstr("bench --tune"));
}

TEST(TuningFileTest, ShippedTablesAreValid) {
  const auto folder = std::filesystem::path(DSAPERF_SOURCE_DIR) / "data";
  for (const auto* card : {"h100_sxm", "h200_sxm"}) {
    const auto table = read_tuning(folder, card);
    ASSERT_TRUE(table) << table.error().message();
    for (const auto& entry : table->entries) EXPECT_LT(entry.variant_us, entry.default_us);
  }
}

TEST(CardTest, IsKnownByTheDriversName) {
  EXPECT_EQ(card_of_device("NVIDIA H200"), "h200_sxm");
  EXPECT_EQ(card_of_device("NVIDIA H100 80GB HBM3"), "h100_sxm");
  EXPECT_EQ(card_of_device("NVIDIA H200 NVL"), std::nullopt);
}

TEST(SplitPartsTest, FillTheDeviceOnceAndShareEvenly) {
  EXPECT_EQ(split_parts(1, 64, 32, 132), 32);
  EXPECT_EQ(split_parts(2, 128, 32, 132), 32);
  EXPECT_EQ(split_parts(4, 32, 32, 132), 32);
  EXPECT_EQ(split_parts(8, 64, 32, 132), 16);
  EXPECT_EQ(split_parts(16, 64, 32, 132), 8);
  EXPECT_EQ(split_parts(32, 64, 32, 132), 4);
  EXPECT_EQ(split_parts(67, 64, 32, 132), 1);
  EXPECT_EQ(split_parts(1, 64, 1, 132), 1);
  EXPECT_EQ(split_parts(4, 64, 32, 132), 16);  // not 128 parts of one block
  for (const int heads : {16, 64})
    for (std::int64_t items = 1; items < 200; ++items)
      for (int blocks = 1; blocks < 100; ++blocks) {
        const int parts = split_parts(items, heads, blocks, 132);
        ASSERT_GE(parts, 1);
        ASSERT_LE(parts, std::min(blocks, 32));
        if (parts > 1) {
          ASSERT_LE(parts * items, 132);
        }
      }
}

TEST(SpreadClusterTest, HoldsTheRow) {
  EXPECT_EQ(spread_cluster(Variant::kSpread512x4, 32768), 16);
  EXPECT_EQ(spread_cluster(Variant::kSpread512x4, 32769), 0);
  EXPECT_EQ(spread_cluster(Variant::kSpread512x8, 4096), 1);
  EXPECT_EQ(spread_cluster(Variant::kSpread1024x8, 131072), 16);
  EXPECT_EQ(spread_cluster(Variant::kSpread1024x16, 131072), 8);
  EXPECT_EQ(spread_cluster(Variant::kDefault, 100), 0);
}

TEST(SegmentsTest, CutRowsThatNoClusterHolds) {
  EXPECT_FALSE(sm90::plan_segments(262144));
  for (const std::int64_t columns : {262145, 500000, 1 << 20, (1 << 20) + 1, 3000000, 1 << 22}) {
    const auto plan = sm90::plan_segments(columns);
    ASSERT_TRUE(plan.has_value()) << columns;
    EXPECT_LE(plan->segments, 16);
    EXPECT_GE(std::int64_t{plan->segments} * plan->cluster * 1024 * 16, columns);
  }
  EXPECT_EQ(sm90::plan_segments(1 << 20)->cluster, 4);
  EXPECT_FALSE(sm90::plan_segments((1 << 22) + 1));
}

TEST(VariantsTest, LeaveOutClustersThatWaitForOthers) {
  const auto has = [](std::int64_t rows, std::int64_t columns, Variant variant) {
    const auto all =
        variants_of({.kernel = TunedKernel::kTopk, .rows = rows, .columns = columns}, 132);
    return std::ranges::find(all, variant) != all.end();
  };
  EXPECT_TRUE(has(15, 131072, Variant::kSpread1024x16));
  EXPECT_FALSE(has(16, 131072, Variant::kSpread1024x16));
  EXPECT_TRUE(has(7, 131072, Variant::kSpread512x16));
  EXPECT_FALSE(has(8, 131072, Variant::kSpread512x16));
  EXPECT_TRUE(has(1, 1 << 20, Variant::kSegments));
  EXPECT_FALSE(has(2, 1 << 20, Variant::kSegments));
  EXPECT_FALSE(has(1, 131072, Variant::kSegments));
}

TEST(VariantsTest, BeginWithTheDefaultAndFitTheShape) {
  EXPECT_THAT(variants_of({.kernel = TunedKernel::kSparseDecode,
                           .fp8 = true,
                           .heads = 64,
                           .rows = 1,
                           .columns = 2048},
                          132),
              ElementsAre(Variant::kDefault, Variant::kTwoProducers, Variant::kSplit,
                          Variant::kTwoProducersSplit));
  EXPECT_THAT(
      variants_of({.kernel = TunedKernel::kSparseDecode, .heads = 64, .rows = 128, .columns = 2048},
                  132),
      ElementsAre(Variant::kDefault));
  for (const int heads : {8, 16, 32})
    EXPECT_THAT(
        variants_of(
            {.kernel = TunedKernel::kSparsePrefill, .heads = heads, .rows = 4096, .columns = 2048},
            132),
        ElementsAre(Variant::kDefault, Variant::kFewHeads));
  EXPECT_THAT(
      variants_of(
          {.kernel = TunedKernel::kSparsePrefill, .heads = 64, .rows = 4096, .columns = 2048}, 132),
      ElementsAre(Variant::kDefault));
  EXPECT_THAT(variants_of({.kernel = TunedKernel::kPagedScores,
                           .heads = 64,
                           .q_len = 2,
                           .rows = 32,
                           .columns = 32768},
                          132),
              ElementsAre(Variant::kDefault, Variant::kEarly, Variant::kEarlyFour));
  EXPECT_THAT(
      variants_of({.kernel = TunedKernel::kPagedScores, .heads = 64, .rows = 32, .columns = 32768},
                  132),
      ElementsAre(Variant::kDefault, Variant::kEarly));
  TunedShape select{
      .kernel = TunedKernel::kPagedSelect, .heads = 64, .rows = 256, .columns = 32768};
  EXPECT_THAT(variants_of(select, 132), ElementsAre(Variant::kDefault, Variant::kFused));
  select.q_len = 2;
  EXPECT_THAT(variants_of(select, 132), ElementsAre(Variant::kDefault));
  select.q_len = 1;
  select.rows = 257;
  EXPECT_THAT(variants_of(select, 132), ElementsAre(Variant::kDefault));
  EXPECT_THAT(variants_of({.kernel = TunedKernel::kTopk, .rows = 15, .columns = 32768}, 132),
              Contains(Variant::kSpread512x8));
  EXPECT_THAT(variants_of({.kernel = TunedKernel::kTopk, .rows = 16, .columns = 65536}, 132),
              Not(Contains(Variant::kSpread512x8)));
  EXPECT_THAT(variants_of({.kernel = TunedKernel::kTopk, .rows = 4096, .columns = 32768}, 132),
              Not(Contains(Variant::kSpread512x4)));
}

TEST(VariantNamesTest, AreReadAsTheyAreWritten) {
  for (const auto variant :
       {Variant::kDefault, Variant::kTwoProducers, Variant::kSplit, Variant::kTwoProducersSplit,
        Variant::kFewHeads, Variant::kEarly, Variant::kEarlyFour, Variant::kSpread512x4,
        Variant::kSpread512x8, Variant::kSpread512x16, Variant::kSpread1024x8, Variant::kFused})
    EXPECT_EQ(variant_from_name(name(variant)), variant);
  EXPECT_EQ(variant_from_name("?"), std::nullopt);
}

}  // namespace
}  // namespace dsaperf::kernels
