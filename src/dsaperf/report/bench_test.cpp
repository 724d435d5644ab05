#include "dsaperf/report/bench.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dsaperf::report {
namespace {

using ::testing::HasSubstr;
using State = BenchComparison::State;

BenchReport sample() {
  return {.device = "NVIDIA H200",
          .sm_count = 132,
          .sm_mhz = 1980,
          .sm_mhz_max = 1980,
          .power_limit_w = 700,
          .commit = "abc",
          .rows = {{.kernel = "topk",
                    .shape = "normal, 1 x 32768",
                    .variant = "default",
                    .cold = {16},
                    .warm = {12},
                    .spread = 0.02,
                    .bound = Micros{1},
                    .right = true},
                   {.kernel = "topk",
                    .shape = "normal, 1 x 32768",
                    .variant = "spread_512x4",
                    .cold = {12},
                    .warm = {7},
                    .spread = 0.01,
                    .right = false}}};
}

TEST(BenchDocumentTest, IsReadAsItWasWritten) {
  const auto document = json(sample()).dump();
  const auto read = parse_bench(document);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(json(*read).dump(), document);
}

TEST(BenchDocumentTest, RefusesWhatIsNone) {
  const auto message = [](const std::string& text) {
    const auto read = parse_bench(text);
    return read ? std::string("accepted") : read.error().message();
  };
  EXPECT_THAT(message("{"), HasSubstr("not a JSON document"));
  EXPECT_THAT(message(R"({"format": "dsaperf.bench.9"})"), HasSubstr("dsaperf.bench.9"));
  EXPECT_THAT(message(R"({"format": "dsaperf.bench.1"})"), HasSubstr("rows"));
  EXPECT_THAT(message(R"({"format": "dsaperf.bench.1", "rows": [3]})"), HasSubstr("row 0"));
  auto report = sample();
  report.rows[1].variant = "default";
  EXPECT_THAT(message(json(report).dump()), HasSubstr("row 1: topk"));
  report = sample();
  report.rows[0].warm = {-1};
  EXPECT_THAT(message(json(report).dump()), HasSubstr("row 0: cold_us"));
}

TEST(BenchTextTest, SaysWhereAResultDiffers) {
  const auto shown = text(sample(), TextStyle{.width = 120});
  EXPECT_THAT(shown, HasSubstr("DIFFERS"));
  EXPECT_THAT(shown, HasSubstr("8 %"));  // of the bound
}

TEST(BenchCompareTest, ComparesAgainstTheNoiseOfBoth) {
  auto base = sample();
  auto now = sample();
  now.rows[0].warm = {12.3};  // 2.5 %, noise 4 %
  now.rows[1].warm = {7.5};   // 7 %, noise 2 %
  auto comparison = compare(base, now);
  EXPECT_EQ(comparison.rows[0].state, State::kSame);
  EXPECT_EQ(comparison.rows[1].state, State::kSlower);
  EXPECT_EQ(json(comparison)["verdict"], "slower");
  now.rows[1].warm = {6};
  comparison = compare(base, now);
  EXPECT_EQ(comparison.rows[1].state, State::kFaster);
  EXPECT_EQ(json(comparison)["verdict"], "not_slower");
}

TEST(BenchCompareTest, NamesRowsOfOneRunAloneAndOtherCards) {
  auto base = sample();
  auto now = sample();
  base.rows.pop_back();
  now.rows.erase(now.rows.begin());
  now.device = "NVIDIA H100 80GB HBM3";
  const auto comparison = compare(base, now);
  ASSERT_EQ(comparison.rows.size(), 2U);
  EXPECT_EQ(comparison.rows[0].state, State::kOnlyBase);
  EXPECT_EQ(comparison.rows[1].state, State::kOnlyNew);
  ASSERT_EQ(comparison.warnings.size(), 1U);
  EXPECT_THAT(comparison.warnings[0], HasSubstr("other cards"));
}

}  // namespace
}  // namespace dsaperf::report
