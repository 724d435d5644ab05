#include "dsaperf/model/analysis.hpp"

#include "dsaperf/model/load_model.hpp"

#include <benchmark/benchmark.h>

#include <string>

namespace dsaperf::model {
namespace {

// From the file to the whole analysis, the nearest known model included. Budget: 2 ms, warm.
void analyse_config(benchmark::State& state, const std::string& config) {
  const auto known = load_bundled_models().value();
  for (auto _ : state) {
    auto spec = load_model(config);
    if (!spec) {
      state.SkipWithError(spec.error().message().c_str());
      return;
    }
    auto analysis = analyse(*std::move(spec), {}, known);
    benchmark::DoNotOptimize(analysis);
  }
}
BENCHMARK_CAPTURE(analyse_config, deepseek_v32, "deepseek-ai/DeepSeek-V3.2")
    ->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(analyse_config, glm_52_nvfp4, "nvidia/GLM-5.2-NVFP4")
    ->Unit(benchmark::kMicrosecond);

void load(benchmark::State& state, const std::string& config) {
  for (auto _ : state) {
    auto spec = load_model(config);
    benchmark::DoNotOptimize(spec);
  }
}
BENCHMARK_CAPTURE(load, deepseek_v32, "deepseek-ai/DeepSeek-V3.2")->Unit(benchmark::kMicrosecond);
BENCHMARK_CAPTURE(load, glm_52_nvfp4, "nvidia/GLM-5.2-NVFP4")->Unit(benchmark::kMicrosecond);

void load_known(benchmark::State& state) {
  for (auto _ : state) {
    auto known = load_bundled_models();
    benchmark::DoNotOptimize(known);
  }
}
BENCHMARK(load_known)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace dsaperf::model
