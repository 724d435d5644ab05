#include "dsaperf/predict/compatible/dsa_layer.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/testing/fixtures.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

namespace dsaperf::predict::compatible {
namespace {

using perfdb::Phase;

struct Case {
  std::string backend, version, path, source, error;
  LayerKind kind;
  LayerShape shape;
  double latency_ms = 0, bound_ms = 0;
};

std::vector<Case> read_cases(const std::filesystem::path& file) {
  auto csv = CsvReader::open(file);
  EXPECT_TRUE(csv) << csv.error().message();
  EXPECT_TRUE(*csv->next());
  std::map<std::string, std::size_t, std::less<>> column;
  for (const auto name : csv->fields()) column.emplace(name, column.size());
  std::vector<Case> cases;
  while (*csv->next()) {
    const auto text = [&](std::string_view name) {
      return std::string(csv->field(column.find(name)->second));
    };
    const auto number = [&](std::string_view name) {
      return parse_double(text(name)).value_or(NAN);
    };
    const auto size = [&](std::string_view name) { return *parse_int(text(name)); };
    Case c{.backend = text("backend"),
           .version = text("version"),
           .path = text("path"),
           .source = text("source"),
           .error = text("error"),
           .kind = {.architecture = text("architecture"),
                    .kv_dtype = text("kv_cache_dtype"),
                    .fmha_dtype = text("fmha_dtype"),
                    .gemm_dtype = text("gemm_dtype")},
           .shape = {.phase = text("phase") == "context" ? Phase::kContext : Phase::kGeneration,
                     .heads = size("num_heads_local"),
                     .batch = size("batch"),
                     .new_tokens = size("new_tokens_or_seq"),
                     .past_tokens = size("prefix"),
                     .full_layer_share = number("full_layer_fraction"),
                     .context_parallel = static_cast<int>(size("cp_size"))},
           .latency_ms = number("latency_ms"),
           .bound_ms = number("sol_ms")};
    if (c.shape.phase == Phase::kGeneration) {
      c.shape.past_tokens = c.shape.new_tokens - 1;
      c.shape.new_tokens = 1;
    }
    cases.push_back(std::move(c));
  }
  return cases;
}

// Every answer of aiconfigurator 0.12 in the fixtures: the same number, or an error where it has
// one.
TEST(CompatibleDsaTest, AgreesWithAiconfigurator) {
  const auto root = dsaperf::testing::systems_tree();
  if (!root) GTEST_SKIP() << dsaperf::testing::kNoSystems;
  const auto file = dsaperf::testing::fixture("aic/operators.csv.gz");
  if (!file) GTEST_SKIP() << dsaperf::testing::kNoFixtures;
  const auto tree = std::make_shared<const perfdb::SystemsTree>(*perfdb::SystemsTree::open(*root));
  std::map<std::string, DsaTables> tables;
  int compared = 0;
  int errors = 0;
  for (const auto& c : read_cases(*file)) {
    const auto key = c.backend + c.version;
    if (!tables.contains(key)) {
      auto opened = DsaTables::open(tree, "h200_sxm", c.backend, c.version);
      ASSERT_TRUE(opened) << opened.error().message();
      tables.emplace(key, std::move(*opened));
    }
    const auto layer = tables.at(key).layer(c.kind, c.shape.phase);
    const auto answer = layer ? layer->at(c.shape) : tl::unexpected(layer.error());
    const auto where =
        c.backend + " " + c.kind.architecture + " " + c.kind.kv_dtype + " " + c.path + " heads " +
        std::to_string(c.shape.heads) + " batch " + std::to_string(c.shape.batch) + " new " +
        std::to_string(c.shape.new_tokens) + " past " + std::to_string(c.shape.past_tokens);
    if (!c.error.empty()) {
      EXPECT_FALSE(answer) << where;
      ++errors;
      continue;
    }
    ASSERT_TRUE(answer) << where << ": " << answer.error().message();
    EXPECT_NEAR(answer->time.millis() / c.latency_ms, 1, 1e-9) << where;
    if (!std::isnan(c.bound_ms)) {
      EXPECT_NEAR(layer->bound(c.shape).ms() / c.bound_ms, 1, 1e-9) << where;
    }
    const auto expected = c.path == "exact"          ? Source::kMeasured
                          : c.path == "interior"     ? Source::kInterpolated
                          : c.path == "extrapolated" ? Source::kExtrapolated
                                                     : answer->source;
    EXPECT_EQ(answer->source, expected) << where;
    ++compared;
  }
  EXPECT_GT(compared, 900);
  EXPECT_GT(errors, 0);
}

}  // namespace
}  // namespace dsaperf::predict::compatible
