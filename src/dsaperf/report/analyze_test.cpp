#include "dsaperf/report/analyze.hpp"

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <sstream>
#include <string>

namespace dsaperf::report {
namespace {

using ::testing::HasSubstr;

nlohmann::ordered_json document_of(const std::string& config) {
  auto spec = model::load_model(config);
  EXPECT_TRUE(spec.has_value()) << spec.error().message();
  const auto analysis = model::analyse(*std::move(spec), {}, {});
  EXPECT_TRUE(analysis.has_value()) << analysis.error().message();
  return analyze_document(*analysis);
}

TEST(AnalyzeDocumentTest, OfABundledModelIsThatOfItsPublishedConfig) {
  const auto configs = testing::fixture("configs");
  if (!configs) GTEST_SKIP() << testing::kNoFixtures;
  int compared = 0;
  const auto names = model::bundled_models().value();
  for (const auto& name : names) {
    auto file = name;
    file.replace(file.find('/'), 1, "--");
    const auto published = testing::existing(*configs / (file + "_config.json"));
    if (!published) continue;
    const auto bundled = document_of(name);
    const auto full = document_of(published->native());
    for (const auto* key : {"facts", "layers", "weights", "cache", "aiconfigurator", "kernels"}) {
      EXPECT_EQ(bundled[key], full[key]) << name << ": " << key;
    }
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

TEST(AnalyzeTextTest, FitsTheWidthForEveryBundledModel) {
  const auto names = model::bundled_models().value();
  for (const auto& name : names) {
    const auto against = model::load_model("deepseek-ai/DeepSeek-V3.2").value();
    const auto analysis = model::analyse_against(model::load_model(name).value(), {}, against);
    ASSERT_TRUE(analysis.has_value()) << analysis.error().message();
    std::istringstream lines(analyze_text(*analysis, {.width = 80, .color = false}));
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LE(text_width(line), 80) << name << ": " << line;
    }
  }
}

TEST(AnalyzeTextTest, SaysWhyADenseModelIsNotSparse) {
  const auto spec = model::load_model("moonshotai/Kimi-K2-Instruct").value();
  const auto analysis = model::analyse(spec, {}, {}).value();
  EXPECT_THAT(analyze_text(analysis, {}),
              HasSubstr("no: latent attention (MLA) without an indexer"));
}

}  // namespace
}  // namespace dsaperf::report
