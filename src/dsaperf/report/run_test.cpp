#include "dsaperf/report/run.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dsaperf::report {
namespace {

using testing::HasSubstr;
using testing::Not;

RunReport example() {
  return {.model = "deepseek-ai/DeepSeek-V3.2",
          .device = "cpu",
          .device_name = "2 cores",
          .heads = 128,
          .batch = 1,
          .new_tokens = 512,
          .past_tokens = 4096,
          .kv = "fp8",
          .cold_samples = 1,
          .stages = {{.name = "topk",
                      .time = {2000},
                      .cold = Micros{2000},
                      .flops = {4e9},
                      .bytes = {1000},
                      .bound = {1000},
                      .bound_by = "memory",
                      .error = 0.0},
                     {.name = "v_up", .time = {1000}, .bound = {500}, .error = 1e-4}},
          .check = RunCheck{.passed = true, .tokens = 8}};
}

TEST(RunReportTest, JsonHasTheKeysThatProgramsRelyOn) {
  const auto document = json(example());
  EXPECT_EQ(document.begin().key(), "format");
  EXPECT_EQ(document["stages"][0]["name"], "topk");
  EXPECT_EQ(document["stages"][0]["time_us"], 2000);
  EXPECT_EQ(document["stages"][0]["bound_us"], 1000);
  EXPECT_EQ(document["stages"][1]["error"], 1e-4);
  EXPECT_EQ(document["stages"][0]["flop_per_s"], 2e12);
  EXPECT_TRUE(document["stages"][0]["warm_us"].is_null());
  EXPECT_EQ(document["time_us"], 3000);
  EXPECT_EQ(document["check"]["passed"], true);
  EXPECT_FALSE(document.contains("compare_kv"));
}

TEST(RunReportTest, AWholePassIsShownBesideTheSumOfItsStages) {
  RunReport report = example();
  EXPECT_TRUE(json(report)["timing"]["whole_warm_us"].is_null());
  EXPECT_TRUE(json(report)["system"].is_null());
  EXPECT_THAT(text(report, {}), Not(HasSubstr("sum of stages")));
  report.launch = "graph";
  report.system = "h200_sxm";
  report.whole_warm = Micros{3100};
  report.whole_cold = Micros{4000};
  EXPECT_EQ(json(report)["timing"]["whole_warm_us"], 3100);
  EXPECT_EQ(json(report)["timing"]["launch"], "graph");
  EXPECT_EQ(json(report)["system"], "h200_sxm");
  EXPECT_EQ(json(report)["time_us"], 3000) << "stages alone, as before";
  EXPECT_THAT(text(report, {}), HasSubstr("sum of stages"));
  EXPECT_THAT(text(report, {}), HasSubstr("3100.0 us"));
}

TEST(RunReportTest, TimesAreInOneUnit) {
  RunReport report = example();
  EXPECT_THAT(text(report, {}), Not(HasSubstr(" ms")));
  report.stages[0].time = Micros{20000};
  EXPECT_THAT(text(report, {}), HasSubstr("20.000 ms"));
  EXPECT_THAT(text(report, {}), HasSubstr("1.000 ms")) << "the short stage too";
  EXPECT_THAT(text(report, {}), Not(HasSubstr(" us")));
}

TEST(RunReportTest, WithoutACheckThereIsNoVerdict) {
  RunReport report = example();
  report.check.reset();
  EXPECT_FALSE(json(report).contains("check"));
  EXPECT_THAT(text(report, {}), Not(HasSubstr("Check")));
}

TEST(RunReportTest, TextSaysWhatFailed) {
  RunReport report = example();
  report.check->passed = false;
  report.stages[1].passed = false;
  report.stages[1].detail = "v_out: row 3";
  const auto shown = text(report, {.width = 120});
  EXPECT_THAT(shown, HasSubstr("FAILED"));
  EXPECT_THAT(shown, HasSubstr("v_up: v_out: row 3"));
  EXPECT_THAT(shown, HasSubstr("exact"));
}

}  // namespace
}  // namespace dsaperf::report
