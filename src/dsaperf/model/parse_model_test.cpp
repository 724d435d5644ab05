// What is wrong with a config is named with its place, and nothing makes the reader fall over.

#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/model/model_weights.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <string>

namespace dsaperf::model {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

json small_config() {
  return {{"num_hidden_layers", 2},   {"hidden_size", 64}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"vocab_size", 100}, {"intermediate_size", 128}};
}

std::string error_of(std::string_view text) {
  const auto spec = parse_model(text, "", "model/config.json");
  return spec ? "no error" : spec.error().message();
}

std::string error_with(std::string_view field, const json& value) {
  auto config = small_config();
  config[std::string(field)] = value;
  return error_of(config.dump());
}

std::string warnings_with(std::string_view field, const json& value) {
  auto config = small_config();
  config[std::string(field)] = value;
  const auto spec = parse_model(config.dump(), "", "test");
  EXPECT_TRUE(spec.has_value()) << spec.error().message();
  std::string all;
  for (const auto& warning : spec.value().warnings) all += warning + '\n';
  return all;
}

TEST(ParseModelTest, NamesFileAndJsonPath) {
  EXPECT_EQ(error_with("hidden_size", "64"),
            "model/config.json: hidden_size: \"64\" is not a whole number");
  EXPECT_THAT(error_with("num_hidden_layers", -1), HasSubstr("num_hidden_layers: -1 is outside"));
  EXPECT_THAT(error_with("num_hidden_layers", 1e9), HasSubstr("is outside 1 to 1000"));
  EXPECT_THAT(error_with("num_attention_heads", 2.5), HasSubstr("2.5 is not a whole number"));
  EXPECT_THAT(error_with("num_attention_heads", true), HasSubstr("is not a whole number"));
  EXPECT_THAT(error_with("hidden_size", json::array({1})), HasSubstr("a list of 1"));
  EXPECT_THAT(error_with("hidden_size", nullptr), HasSubstr("hidden_size: is null"));
  EXPECT_THAT(error_with("rope_scaling", "yarn"), HasSubstr("rope_scaling: \"yarn\""));
  EXPECT_THAT(error_with("layer_types", json::array({"full_attention", 3})),
              HasSubstr("layer_types[1]: 3 is not a text"));
  const json nested = {{"text_config", {{"num_hidden_layers", "x"}}}};
  EXPECT_THAT(error_of(nested.dump()), HasSubstr("text_config.num_hidden_layers"));
}

TEST(ParseModelTest, NamesLineAndColumnOfWhatIsNotJson) {
  EXPECT_EQ(error_of("{\n \"a\": tru\n}"), "model/config.json: line 2, column 10: not JSON");
  EXPECT_THAT(error_of("{\"a\": [1, 2"), HasSubstr("ends in the middle"));
  EXPECT_THAT(error_of("[1]"), HasSubstr("a JSON object is expected, not this: array"));
  EXPECT_THAT(error_of(""), HasSubstr("empty file"));
  EXPECT_THAT(error_of("<html>404</html>"), HasSubstr("HTML page"));
  EXPECT_THAT(error_of("version https://git-lfs.github.com/spec/v1\n"), HasSubstr("git-lfs"));
}

TEST(ParseModelTest, RefusesDeepNestingWithoutRecursion) {
  const std::string deep = "{\"a\":" + std::string(1'000'000, '[');
  EXPECT_THAT(error_of(deep), HasSubstr("nested deeper than 100 levels"));
}

TEST(ParseModelTest, ReadsAByteOrderMark) {
  const auto text = "\xef\xbb\xbf" + small_config().dump();
  EXPECT_EQ(error_of(text), "no error");
}

TEST(ParseModelTest, ReadsWhatPythonWritesForNonNumbersAsNull) {
  const auto spec = parse_model(
      "{\"num_hidden_layers\": 2, \"hidden_size\": 64, \"num_attention_heads\": 4,\n"
      "\"vocab_size\": 10, \"text\": \"NaN, Infinity\", \"limits\": [0, -Infinity, NaN]}",
      "", "test");
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  ASSERT_GE(spec->warnings.size(), 2U);
  EXPECT_THAT(spec->warnings[0], StartsWith("line 2, column 58: -Infinity"));
  // A size that is no number is missed by its name.
  EXPECT_THAT(error_of("{\"num_hidden_layers\": NaN, \"hidden_size\": 64}"),
              HasSubstr("num_hidden_layers: is null"));
}

TEST(ParseModelTest, ReportsUnknownFieldsThatLookSparse) {
  for (const auto* name :
       {"index_magic", "indexer_mode", "topk_mode", "sparse_thing", "compress_kind", "candidate_x",
        "kv_source_x", "my_kpool", "use_sparse"}) {
    EXPECT_THAT(warnings_with(name, 7), AllOf(HasSubstr(name), HasSubstr("looks like sparse")));
  }
  EXPECT_THAT(warnings_with("attn", json{{"index_magic", 7}}), HasSubstr("attn.index_magic"));
  for (const auto* name : {"topk_group", "topk_method", "norm_topk_prob", "decoder_sparse_step"}) {
    EXPECT_THAT(warnings_with(name, 1), ::testing::Not(HasSubstr(name)));
  }
}

TEST(ParseModelTest, WarnsOfAModelTypeThatItHasNotMet) {
  EXPECT_THAT(warnings_with("model_type", "brand_new"), HasSubstr("brand_new"));
  EXPECT_THAT(warnings_with("model_type", "llama"), ::testing::Not(HasSubstr("llama")));
}

TEST(ParseModelTest, KeepsMessagesShortWhateverTheFileHolds) {
  const auto message = error_with("hidden_size", std::string(100'000, 'x') + "\xc3\xa4");
  EXPECT_LT(message.size(), 200U);
  EXPECT_LT(warnings_with("model_type", std::string(100'000, 'y')).size(), 300U);
}

TEST(ParseModelTest, CountsLargeModelsWithoutOverflow) {
  auto config = small_config();
  config.update({{"num_hidden_layers", 1000},
                 {"hidden_size", 131072},
                 {"num_attention_heads", 4096},
                 {"head_dim", 65536},
                 {"n_routed_experts", 8192},
                 {"num_experts_per_tok", 8192},
                 {"moe_intermediate_size", 262144}});
  const auto spec = parse_model(config.dump(), "", "test");
  ASSERT_TRUE(spec.has_value()) << spec.error().message();
  EXPECT_GT(total(model_weights(*spec, {}), true).bytes.value, 0);
}

TEST(ParseModelTest, BrokenFixturesEndInOneLineOrAWarning) {
  const auto folder = testing::fixture("bad");
  if (!folder) GTEST_SKIP() << testing::kNoFixtures;
  int seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(*folder)) {
    if (!entry.path().filename().native().ends_with("_config.json")) continue;
    const auto spec = load_model(entry.path().native());
    ++seen;
    if (!spec) {
      EXPECT_THAT(spec.error().message(), HasSubstr(entry.path().filename().native()));
      EXPECT_THAT(spec.error().message(), ::testing::Not(HasSubstr("\n")));
    }
  }
  EXPECT_GE(seen, 6);
}

TEST(ParseModelTest, ReadsEveryConfigThatAiconfiguratorShips) {
  const auto core = testing::aiconfigurator_core();
  if (!core) GTEST_SKIP() << testing::kNoSystems;
  for (const auto& entry : std::filesystem::directory_iterator(*core / "model_configs")) {
    const auto file = entry.path().filename().native();
    if (!file.ends_with("_config.json") || file.ends_with("_hf_quant_config.json")) continue;
    const auto spec = load_model(entry.path().native());
    EXPECT_TRUE(spec.has_value()) << spec.error().message();
  }
}

}  // namespace
}  // namespace dsaperf::model
