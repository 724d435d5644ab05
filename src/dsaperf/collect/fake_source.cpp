#include "dsaperf/collect/fake_source.hpp"

#include "dsaperf/collect/gemm_plan.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/bound.hpp"
#include "dsaperf/cost/stage_cost.hpp"

#include <algorithm>
#include <cstdlib>
#include <thread>
#include <utility>

namespace dsaperf::collect {
namespace {

// FNV-1a: the same on every machine, unlike std::hash.
std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 14695981039346656037ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
  }
  return hash;
}

Summary summary_around(Micros median) {
  return {
      .median = median, .p10 = median * 0.995, .p90 = median * 1.01, .count = 20, .ci95 = 0.004};
}

bool named(const std::string& part, std::string_view id) {
  return !part.empty() && id.find(part) != std::string_view::npos;
}

}  // namespace

FakeSource::FakeSource(model::LayerPlan layer, cost::SystemSpec system, Options options)
    : layer_(layer),
      system_(std::move(system)),
      options_(std::move(options)),
      info_{.framework = "dsaperf",
            .version = "0",
            .device = "fake " + system_.name,
            .driver = "none",
            .method = "fake-1"} {
}

Result<Measurement> FakeSource::measure(const Case& what) {
  const auto id = what.id();
  std::this_thread::sleep_for(options_.delay);
  if (named(options_.dies_on, id)) std::abort();
  if (named(options_.fails_on, id)) return fail(Errc::kCuda, "fake failure of {}", id);

  // Within 0.4 %, from the id: below what a fit or a lint would call noise, above zero.
  const double wobble = 1 + 4e-3 * (static_cast<double>(hash_of(id) % 1000) / 1000 - 0.5);
  Measurement result;
  Micros total;
  const auto time_of = [&](const cost::StageCost& cost) {
    return (cost::bound(cost, system_).time() * 1.5 + Micros{2}) * wobble;
  };
  if (what.product) {
    total = time_of(gemm_cost(*what.product, what.gemm));
  } else {
    DSAPERF_TRY_ASSIGN(const auto cost, cost::layer_cost(layer_of(what, layer_), what.shape()));
    for (const auto& stage : cost.stages()) {
      if (!what.whole() && !std::ranges::count(what.stages, stage.stage)) continue;
      const Micros time = time_of(stage);
      result.stages.push_back({.stage = stage.stage,
                               .time = time,
                               .cold = time * 1.05,
                               .kernel = fmt::format("fake_{}", model::name(stage.stage))});
      total += time;
    }
  }
  result.warm = summary_around(total);
  result.cold = summary_around(total * 1.05 + Micros{3});
  result.card = {
      .sm_mhz = 1980, .memory_mhz = 3201, .power_w = 500, .energy_j = 1, .temperature_c = 40};
  result.kernel_source = "fake";
  ++measured_;
  if (options_.throttled_every > 0 && measured_ % options_.throttled_every == 0) {
    result.card.throttle_reasons.push_back("fake_thermal");
  }
  if (measured_ <= options_.capped_first) result.card.throttle_reasons.emplace_back(kPowerCap);
  return result;
}

}  // namespace dsaperf::collect
