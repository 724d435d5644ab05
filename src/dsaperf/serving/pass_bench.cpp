#include "dsaperf/core/testing/fixtures.hpp"
#include "dsaperf/model/load_model.hpp"
#include "dsaperf/serving/pass_model.hpp"

#include <benchmark/benchmark.h>

#include <memory>
#include <optional>

// Warm passes of DeepSeek-V3.2, tp 8, on SGLang's tables of h200_sxm. Budget: 1 us inside the
// tables, 5 us anywhere (aiconfigurator's engine: 3 and 30 to 300 us).
namespace dsaperf::serving {
namespace {

const PassModel* passes() {
  static const std::optional<PassModel> model = []() -> std::optional<PassModel> {
    const auto root = testing::systems_tree();
    if (!root) return std::nullopt;
    auto tree = perfdb::SystemsTree::open(*root);
    const auto spec = model::load_model("deepseek-ai/DeepSeek-V3.2");
    if (!tree || !spec) return std::nullopt;
    auto set = predict::compatible::OperatorSet::open(
        std::make_shared<const perfdb::SystemsTree>(*std::move(tree)), "h200_sxm", "sglang", "");
    const auto shape = ModelShape::of(*spec);
    if (!set || !shape) return std::nullopt;
    auto made = PassModel::make({.shape = *shape,
                                 .layout = {.tp = 8, .moe_tp = 8},
                                 .formats = formats_of(*spec, {}, false),
                                 .quirks = Quirks::none()},
                                *set);
    if (!made) return std::nullopt;
    return *std::move(made);
  }();
  return model ? &*model : nullptr;
}

template <typename Ask>
void warm(benchmark::State& state, const Ask& ask) {
  const PassModel* model = passes();
  if (model == nullptr) {
    state.SkipWithError(testing::kNoSystems.data());
    return;
  }
  double length = 0;
  for (auto _ : state) {
    auto ms = ask(*model, length);
    if (!ms) {
      state.SkipWithError(ms.error().message().c_str());
      return;
    }
    benchmark::DoNotOptimize(ms);
    length = length >= 1000 ? 0 : length + 7;
  }
}

void prefill_inside(benchmark::State& state) {
  warm(state, [](const PassModel& model, double i) -> Result<double> {
    DSAPERF_TRY_ASSIGN(const double rest, model.rest_ms({2100 + i, 2100 + i}, 1));
    DSAPERF_TRY_ASSIGN(const double attention, model.context_attention_ms(1, 2100 + i, 0));
    return rest + attention;
  });
}
void prefill_outside(benchmark::State& state) {
  warm(state, [](const PassModel& model, double i) -> Result<double> {
    DSAPERF_TRY_ASSIGN(const double rest, model.rest_ms({40000 + i, 40000 + i}, 1));
    DSAPERF_TRY_ASSIGN(const double attention, model.context_attention_ms(1, 40000 + i, 0));
    return rest + attention;
  });
}
void decode_inside(benchmark::State& state) {
  warm(state, [](const PassModel& model, double i) -> Result<double> {
    DSAPERF_TRY_ASSIGN(const double rest, model.decode_rest_ms({16, 16}));
    DSAPERF_TRY_ASSIGN(const double attention, model.generation_attention_ms(16, 5000 + i));
    return rest + attention;
  });
}
void decode_outside(benchmark::State& state) {
  warm(state, [](const PassModel& model, double i) -> Result<double> {
    DSAPERF_TRY_ASSIGN(const double rest, model.decode_rest_ms({200, 200}));
    DSAPERF_TRY_ASSIGN(const double attention, model.generation_attention_ms(200, 40000 + i));
    return rest + attention;
  });
}
void prefill_with_lines(benchmark::State& state) {
  warm(state, [](const PassModel& model, double i) { return model.context(1, 2100 + i, 0); });
}
BENCHMARK(prefill_inside)->Unit(benchmark::kMicrosecond);
BENCHMARK(prefill_outside)->Unit(benchmark::kMicrosecond);
BENCHMARK(decode_inside)->Unit(benchmark::kMicrosecond);
BENCHMARK(decode_outside)->Unit(benchmark::kMicrosecond);
BENCHMARK(prefill_with_lines)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dsaperf::serving
