#include "dsaperf/report/layer_cost.hpp"

#include "dsaperf/cost/testing/layers.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace dsaperf::report {
namespace {

LayerCostReport report_on(const std::string& system) {
  auto layer = cost::testing::deepseek_v32();
  layer.formats = {};  // bf16, of which every card has a rate
  LayerCostReport report;
  report.model = "a model";
  report.title = "a shape";
  report.system = *cost::find_system(DSAPERF_SOURCE_DIR "/data", system);
  report.shape = cost::Shape::decode(2, 1, 8191, 16, model::KvFormat::kFp8);
  report.cost = *cost::layer_cost(layer, report.shape);
  return report;
}

TEST(LayerCostReportTest, TheBoundIsTheSumOfTheStages) {
  const auto document = json(report_on("h200_sxm"));
  EXPECT_EQ(document.begin().key(), "format");
  EXPECT_EQ(document["stages"].size(), 13U);
  double sum = 0;
  for (const auto& stage : document["stages"]) sum += stage["bound_us"].get<double>();
  EXPECT_DOUBLE_EQ(sum, document["bound_us"].get<double>());
}

TEST(LayerCostReportTest, ARateThatIsNotKnownIsSaid) {
  const auto report = report_on("a100_sxm");
  EXPECT_THAT(text(report, {.width = 100}), ::testing::HasSubstr("rate is not known"));
  const auto document = json(report);
  for (const auto& stage : document["stages"])
    EXPECT_EQ(stage["math_us"].is_null(), stage["name"] == "indexer_scores") << stage["name"];
}

TEST(LayerCostReportTest, MeasuredRowsStandBesideTheBound) {
  auto report = report_on("h200_sxm");
  report.measured.push_back({.backend = "sglang",
                             .version = "0.5.14",
                             .kv_dtype = "fp8",
                             .gemm_dtype = "fp8_block",
                             .time = Micros{100},
                             .source = "measured"});
  EXPECT_THAT(text(report, {.width = 100}), ::testing::HasSubstr("sglang 0.5.14"));
  EXPECT_THAT(text(report, {.width = 100}), ::testing::HasSubstr("in AIConfigurator's tables:"));
  report.measured[0].backend = "dsaperf";
  EXPECT_THAT(text(report, {.width = 100}), ::testing::HasSubstr("in our own tables:"));
  EXPECT_EQ(json(report)["measured"][0]["latency_us"], 100);
}

}  // namespace
}  // namespace dsaperf::report
