#include "dsaperf/predict/compatible/operator_set.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/testing/fixtures.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>

namespace dsaperf::predict::compatible {
namespace {

// The answer of one operator of the fixtures in ms, not yet multiplied by how often it occurs;
// empty for kinds that are not tested here (DSA has tests of its own).
std::optional<double> answer(OperatorSet& set, const std::string& kind, const nlohmann::json& op,
                             double batch, double s, double tokens) {
  const auto text = [&](const char* key) { return op[key].get<std::string>(); };
  const auto number = [&](const char* key) { return op[key].get<int>(); };
  const auto value = [&](const auto& made, const auto&... at) -> std::optional<double> {
    if (made) return made->ms(at...);
    ADD_FAILURE() << made.error().message();
    return {};
  };
  if (kind == "Embedding") return set.memory_ms(2 * tokens * number("hidden_size"));
  if (kind == "Elementwise") return set.memory_ms(tokens * op["bytes_per_token"].get<double>());
  if (kind == "Gemm") return value(set.gemm(text("quant_mode"), number("n"), number("k")), tokens);
  if (kind == "Moe")
    return value(set.moe({.dtype = text("quant_mode"),
                          .distribution = text("workload_distribution"),
                          .hidden = number("hidden_size"),
                          .inter = number("inter_size"),
                          .topk = number("topk"),
                          .experts = number("num_experts"),
                          .moe_tp = number("moe_tp_size"),
                          .moe_ep = number("moe_ep_size")}),
                 tokens * number("attention_dp_size"));
  if (kind == "CustomAllReduce")
    return value(set.all_reduce(number("tp_size")), tokens * number("hidden_size"));
  const auto grid = [&](const auto& made, const auto&... at) -> std::optional<double> {
    EXPECT_TRUE(made) << made.error().message();
    const auto found = made->ms(at...);
    EXPECT_TRUE(found);
    return found->latency;
  };
  const MlaKey key{.part = kind.starts_with("MlaModule") ? MlaPart::kModule : MlaPart::kKernel,
                   .fmha_dtype = op.value("fmha_quant_mode", "bfloat16"),
                   .kv_dtype = op.value("kv_cache_dtype", "fp8"),
                   .gemm_dtype = op.value("gemm_quant_mode", "fp8_block")};
  if (kind == "ContextMla" || kind == "MlaModuleContext")
    return grid(set.mla_context(key, number("num_heads")), batch, s, 0.0);
  if (kind == "GenerationMla" || kind == "MlaModuleGeneration")
    return grid(set.mla_generation(key, number("num_heads")), batch, s);
  if (kind == "MlaBmm")
    return value(
        set.mla_bmm(text("quant_mode"),
                    op["is_pre"] ? MlaBmmOperator::Side::kBefore : MlaBmmOperator::Side::kAfter,
                    number("num_heads")),
        batch);
  return std::nullopt;
}

TEST(OperatorSetTest, AnswersAsThePackageDoes) {
  const auto rows = testing::fixture("aic/subops.csv.gz");
  const auto systems = testing::systems_tree();
  if (!rows) GTEST_SKIP() << testing::kNoFixtures;
  if (!systems) GTEST_SKIP() << testing::kNoSystems;
  auto tree = perfdb::SystemsTree::open(*systems);
  ASSERT_TRUE(tree);
  const auto shared = std::make_shared<const perfdb::SystemsTree>(*std::move(tree));
  std::map<std::string, OperatorSet> sets;
  std::map<std::string, int> compared;

  auto csv = CsvReader::open(*rows);
  ASSERT_TRUE(csv) << csv.error().message();
  ASSERT_TRUE(csv->next());
  std::map<std::string, std::size_t> column;
  for (std::size_t i = 0; i < csv->fields().size(); ++i) column.emplace(csv->fields()[i], i);
  while (*csv->next()) {
    const auto field = [&](const char* name) { return std::string(csv->field(column.at(name))); };
    if (!field("error").empty()) continue;
    const auto name = field("backend") + " " + field("version");
    if (!sets.contains(name)) {
      auto set = OperatorSet::open(shared, field("system"), field("backend"), field("version"));
      ASSERT_TRUE(set) << set.error().message();
      sets.emplace(name, *std::move(set));
    }
    const auto spec = nlohmann::json::parse(field("op_spec_json"));
    const auto& op = spec.begin().value();
    const double batch = *parse_double(field("batch"));
    const bool logits = field("op_name").ends_with("logits_gemm");
    const auto ms = answer(sets.at(name), spec.begin().key(), op, batch, *parse_double(field("s")),
                           logits ? batch : *parse_double(field("x_tokens")));
    if (!ms) continue;
    const double expected = *parse_double(field("latency_ms"));
    EXPECT_NEAR(*ms * op["scale_factor"].get<double>(), expected, 1e-9 * expected)
        << name << " " << field("layout") << " " << field("op_name") << " line " << csv->line();
    ++compared[spec.begin().key()];
  }
  for (const auto* kind :
       {"Embedding", "Elementwise", "Gemm", "Moe", "CustomAllReduce", "ContextMla", "GenerationMla",
        "MlaModuleContext", "MlaModuleGeneration", "MlaBmm"})
    EXPECT_GE(compared[kind], 2) << kind;
}

}  // namespace
}  // namespace dsaperf::predict::compatible
