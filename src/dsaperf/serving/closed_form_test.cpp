#include "dsaperf/serving/closed_form.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <map>

namespace dsaperf::serving {
namespace {

// The fixtures ask for 1e-3; what follows the same formulas agrees to rounding.
constexpr double kTolerance = 1e-9;

class Package {
 public:
  static std::optional<Package> open() {
    const auto systems = testing::systems_tree();
    if (!systems || !testing::aiconfigurator_core()) return std::nullopt;
    auto tree = perfdb::SystemsTree::open(*systems);
    if (!tree) return std::nullopt;
    return Package(std::make_shared<const perfdb::SystemsTree>(*std::move(tree)));
  }
  predict::compatible::OperatorSet& set(const std::string& backend, const std::string& version) {
    auto found = sets_.find(backend + version);
    if (found == sets_.end()) {
      auto opened = predict::compatible::OperatorSet::open(tree_, "h200_sxm", backend, version);
      EXPECT_TRUE(opened) << opened.error().message();
      found = sets_.emplace(backend + version, *std::move(opened)).first;
    }
    return found->second;
  }
  const model::ModelSpec& model(const std::string& name) {
    auto found = models_.find(name);
    if (found == models_.end()) {
      auto path = name;
      path.replace(path.find('/'), 1, "--");
      const auto core = testing::aiconfigurator_core();
      auto loaded = model::load_model((*core / "model_configs" / (path + "_config.json")).native());
      EXPECT_TRUE(loaded) << loaded.error().message();
      found = models_.emplace(name, *std::move(loaded)).first;
    }
    return found->second;
  }

 private:
  explicit Package(std::shared_ptr<const perfdb::SystemsTree> tree) : tree_(std::move(tree)) {}
  std::shared_ptr<const perfdb::SystemsTree> tree_;
  std::map<std::string, predict::compatible::OperatorSet> sets_;
  std::map<std::string, model::ModelSpec> models_;
};

TEST(ClosedFormTest, PassesMemoryAndTimesAreThePackages) {
  const auto rows = testing::fixture("aic/passes.csv.gz");
  if (!rows) GTEST_SKIP() << testing::kNoFixtures;
  auto package = Package::open();
  if (!package) GTEST_SKIP() << testing::kNoSystems;

  auto csv = CsvReader::open(*rows);
  ASSERT_TRUE(csv) << csv.error().message();
  ASSERT_TRUE(csv->next());
  std::map<std::string, std::size_t> column;
  for (std::size_t i = 0; i < csv->fields().size(); ++i) column.emplace(csv->fields()[i], i);
  int compared = 0;
  while (*csv->next()) {
    const auto text = [&](const char* name) { return std::string(csv->field(column.at(name))); };
    const auto number = [&](const char* name) { return parse_double(text(name)).value_or(0); };
    const auto integer = [&](const char* name) { return static_cast<int>(number(name)); };
    const std::string row = "line " + std::to_string(csv->line()) + ": " + text("model") + " " +
                            text("backend") + " " + text("mode") + " tp" + text("tp") + " dp" +
                            text("dp") + " ep" + text("moe_ep");
    const auto extra = nlohmann::json::parse(text("extra_json"));
    const auto& spec = package->model(text("model"));
    auto& set = package->set(text("backend"), text("version"));
    const auto shape = ModelShape::of(spec);
    ASSERT_TRUE(shape) << shape.error().message();
    const PassModel::Inputs inputs{
        .shape = *shape,
        .layout = {.tp = integer("tp"),
                   .pp = integer("pp"),
                   .dp = integer("dp"),
                   .moe_tp = integer("moe_tp"),
                   .moe_ep = integer("moe_ep")},
        .formats =
            formats_of(spec, {.gemm = {}, .kv = extra.value("kvcache_quant_mode", "")}, true),
        .engine = *engine_from_name(text("backend")),
        .draft_tokens = integer("nextn"),
        .deepep = integer("moe_ep") > 8 ? DeepEp::kBoth : DeepEp::kNone};
    const auto model = PassModel::make(inputs, set);
    if (!text("error").empty()) {
      EXPECT_FALSE(model) << row;
      continue;
    }
    ASSERT_TRUE(model) << row << ": " << model.error().message();
    const Workload work{.isl = number("isl"), .osl = number("osl"), .prefix = number("prefix")};
    const bool agg = text("mode") == "agg";
    const auto result =
        agg ? in_flight(*model, set.system(), set.version(), work, number("batch_per_rank"),
                        number("ctx_tokens"),
                        {.memory_fraction = {},
                         .max_sequence = {},
                         .tokens_a_step = 1 + extra.value("nextn_accepted", 0.0)})
            : static_batch(
                  *model, set.system(), set.version(), work, number("batch_per_rank"),
                  text("mode") == "static_ctx" ? StaticPhase::kContext : StaticPhase::kGeneration);
    ASSERT_TRUE(result) << row << ": " << result.error().message();
    const auto same = [&](double got, double want, const std::string& what) {
      EXPECT_NEAR(got, want, kTolerance * std::max(std::abs(want), 1e-9)) << row << " " << what;
    };
    EXPECT_EQ(inputs.formats.gemm, text("gemm")) << row;
    EXPECT_EQ(inputs.formats.kv, text("kvcache")) << row;
    if (!text("context_pass_ms").empty())
      same(result->context.ms, number("context_pass_ms"), "context pass");
    if (!text("generation_pass_ms").empty() && result->decode_steps + !agg > 0)
      same(result->generation.ms, number("generation_pass_ms"), "generation pass");
    for (const auto* phase : {"context_ops_ms_json", "generation_ops_ms_json"}) {
      const auto& pass = phase[0] == 'c' ? result->context : result->generation;
      const auto lines = nlohmann::json::parse(text(phase));
      for (const auto& line : pass.lines)
        same(line.time.ms, lines.value(line.name, -1.0), line.name);
    }
    same(result->ttft_ms, number("ttft_ms"), "ttft");
    same(result->tpot_ms, number("tpot_ms"), "tpot");
    same(result->output_tok_s_per_gpu(inputs.layout.gpus()), number("tokens_per_s_per_gpu"),
         "tokens/s/gpu");
    same(result->concurrency, number("concurrency"), "concurrency");
    const auto memory = nlohmann::json::parse(text("memory_gib_json"));
    same(result->memory.weights / kGibi, memory["weights"], "weights");
    same(result->memory.activations / kGibi, memory["activations"], "activations");
    same(result->memory.kv_cache / kGibi, memory["kvcache"], "kvcache");
    same(result->memory.total() / kGibi, memory["total"], "memory");
    // The package reports the cache of running workers and the whole card of static ones.
    EXPECT_EQ(result->fit == (agg ? Fit::kOutOfCache : Fit::kOutOfMemory), text("kv_oom") == "True")
        << row;
    ++compared;
  }
  EXPECT_GE(compared, 20);
}

}  // namespace
}  // namespace dsaperf::serving
