#include "dsaperf/report/model_facts.hpp"

#include "dsaperf/core/file.hpp"
#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <set>
#include <string>

namespace dsaperf::report {
namespace {

// Sentences for people in expected.json; the figures are what must hold.
const std::set<std::string> kFreeTexts = {"attention", "weights_quant",  "note",
                                          "source",    "kv_cache_quant", "licence"};

TEST(ModelFactsTest, HoldForEveryConfigOfTheFixtures) {
  const auto folder = testing::fixture("configs");
  if (!folder) GTEST_SKIP() << testing::kNoFixtures;
  const auto text = read_file(*folder / "expected.json", {1 << 20}).value();
  const auto configs = nlohmann::json::parse(text);
  for (const auto& [file, expected] : configs.items()) {
    const auto spec = model::load_model((*folder / file).native());
    ASSERT_TRUE(spec.has_value()) << spec.error().message();
    const auto facts = model_facts(*spec);
    for (const auto& [key, value] : expected.items()) {
      if (kFreeTexts.contains(key)) continue;
      ASSERT_TRUE(facts.contains(key)) << file << ": " << key;
      EXPECT_EQ(nlohmann::json(facts[key]), value) << file << ": " << key;
    }
  }
}

}  // namespace
}  // namespace dsaperf::report
