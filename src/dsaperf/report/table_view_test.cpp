#include "dsaperf/report/table_view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dsaperf::report {
namespace {

perfdb::DsaTable table() {
  perfdb::DsaTable result;
  result.phase = perfdb::Phase::kGeneration;
  result.slices.resize(2);
  for (auto& slice : result.slices) slice.model = "m";
  result.slices[0].kv_dtype = "fp8";
  result.slices[1].kv_dtype = "bfloat16";
  for (const int batch : {1, 8}) {
    for (const int past : {1023, 4095, 16383}) {
      for (const int slice : {0, 1}) {
        result.rows.push_back({.slice = slice,
                               .heads = 16,
                               .batch = batch,
                               .new_tokens = 1,
                               .past_tokens = past,
                               .latency = {10.0 * batch + past * 0.01}});
      }
    }
  }
  return result;
}

TEST(TableViewTest, TheFilterTakesWhatAllOfItsPartsAllow) {
  EXPECT_EQ(selected_rows(table(), {}).size(), 12U);
  EXPECT_EQ(selected_rows(table(), {.kv_dtype = "fp8", .batch = {8}}).size(), 3U);
  EXPECT_EQ(selected_rows(table(), {.heads = {8}}).size(), 0U);
  EXPECT_EQ(selected_rows(table(), {.model = "other"}).size(), 0U);
}

TEST(TableViewTest, SaysWhatThereIsWhereNoRowFits) {
  const auto shown = text(table(), "p", {.filter = {.kv_dtype = "int3"}}, {.width = 80});
  EXPECT_THAT(shown, testing::HasSubstr("0 of 12 rows\nnone is as asked for; the table holds\n"));
  EXPECT_THAT(shown, testing::HasSubstr("m kv bfloat16"));
}

TEST(TableViewTest, DrawsALineForEachCombinationOfTheRest) {
  const auto shown = text(table(), "place", {.filter = {.kv_dtype = "fp8"}}, {.width = 80});
  EXPECT_THAT(shown, testing::HasSubstr("place, generation: 6 of 12 rows"));
  EXPECT_THAT(shown, testing::HasSubstr("A heads 16 batch 1 new 1"));
  EXPECT_THAT(shown, testing::HasSubstr("B heads 16 batch 8 new 1"));
  const auto few = text(table(), "place", {.lines = 1}, {.width = 80});
  EXPECT_THAT(few, testing::HasSubstr("1 of 4 lines are drawn"));
}

TEST(TableViewTest, ListsRowsOnDemandAndAllOfThemAsJson) {
  EXPECT_THAT(text(table(), "p", {.rows = 1}, {.width = 80}), testing::HasSubstr("0.0202"));
  const auto document = json(table(), "p", {.filter = {.batch = {1}}});
  EXPECT_EQ(document["rows"].size(), 6U);
  EXPECT_EQ(document["rows"][0]["past_tokens"], 1023);
}

}  // namespace
}  // namespace dsaperf::report
