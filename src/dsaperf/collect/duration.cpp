#include "dsaperf/collect/duration.hpp"

#include "dsaperf/collect/gemm_plan.hpp"
#include "dsaperf/collect/layer_arena.hpp"
#include "dsaperf/collect/plan.hpp"
#include "dsaperf/collect/sampling.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/bound.hpp"
#include "dsaperf/cost/stage_cost.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/dsa_layer.hpp"
#include "dsaperf/op/layer_timing.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <string>

namespace dsaperf::collect {
namespace {

// Of the card. Kernels of large shapes take up to twice their bound, attention no less than its
// gathers through the L2 (H200, benchmarks/results/h200_sxm/peers.json: 9.7 GB in 1.8 ms), and one
// kernel some microseconds.
constexpr double kTimesTheBound = 2;
constexpr double kGatherBytesPerUs = 5e6;
constexpr double kLaunchUs = 3;
constexpr double kFlushUs = 100;  // 256 MB
// Of the host, stated and not measured: pageable copies, drawing random numbers on 16 cores, 30
// allocations and their release, recordings and the profiler, a synced line of the journal.
constexpr double kUploadBytesPerS = 4e9;
constexpr double kDrawnBytesPerS = 1e9;
constexpr double kAllocateS = 0.010;
constexpr double kRecordS = 0.010;
constexpr double kWitnessS = 0.010;
constexpr double kRowS = 0.005;
constexpr double kSampleS = 60e-6;
constexpr double kRopeS = 1.5e-6;  // a token: 32 sines and cosines
// What short passes need until their median is known; long ones stop at the fewest.
constexpr int kSamplesOfShortPasses = 20;

struct Passes {
  double whole_us = 0;
  double timed_us = 0;  // of the stages asked for
};

Passes passes_of(const Case& measured, const cost::LayerCost& cost,
                 const cost::SystemSpec& system) {
  Passes passes;
  for (const auto& stage : cost.stages()) {
    double us = kTimesTheBound * cost::bound(stage, system).time().value;
    us = std::max(us, stage.gathered_bytes / kGatherBytesPerUs) + kLaunchUs * stage.launches;
    passes.whole_us += us;
    if (measured.whole() || op::DsaLayer::runs_with(stage.stage, measured.stages)) {
      passes.timed_us += us;
    }
  }
  return passes;
}

void add_passes(const Case& measured, const Passes& passes, Duration& duration) {
  const Stopping stopping;
  const double us = passes.timed_us;
  const bool long_pass = us > op::LayerTimer::kLongPassUs;
  const auto few = [&](double fill_us, int most) {
    return std::clamp(std::ceil(fill_us / us), 1.0, static_cast<double>(most));
  };
  double samples = kSamplesOfShortPasses;
  if (long_pass) {
    samples = std::clamp(stopping.seconds * 1e6 / us, static_cast<double>(stopping.fewest),
                         static_cast<double>(stopping.least));
  }
  // The last run that settled is the first of the warm samples.
  const double run = us > 1e5 * stopping.settle_seconds ? 1 : 5;
  const double settling = 2 * run;
  double timed = 0;    // runs of what is timed
  double flushes = 0;  // of the caches
  if (measured.stages.empty()) {
    const double lead = long_pass ? 0 : 1;
    const double stage_samples = few(kStageSamplesUs, kMostStageSamples);
    const double passes_a_sample = few(kSampleUs, kMostPasses) + lead;
    const double warm = settling + samples - run;
    timed = 2 + warm * passes_a_sample + samples + 2 * stage_samples + 1;
    flushes = samples + stage_samples;
  } else {
    timed = 2 + settling - run + 2 * samples + 1;
    flushes = settling - run + 2 * samples;
  }
  duration.passes_s += 1e-6 * (passes.whole_us + timed * us + flushes * kFlushUs);
  duration.host_s += kRecordS + kWitnessS + kRowS + 2 * (samples + settling) * kSampleS;
}

// `known`: of weights that are on the card already.
Duration duration_of_product(const Case& measured, const cost::SystemSpec& system, bool known) {
  const auto& sizes = *measured.product;
  const auto cost = gemm_cost(sizes, measured.gemm);
  Duration duration;
  duration.prepare_s = kAllocateS + 2 * static_cast<double>(sizes.m * sizes.k) / kUploadBytesPerS;
  if (!known) duration.shared_s = cost.traffic.weights / kUploadBytesPerS;
  const double us =
      kTimesTheBound * cost::bound(cost, system).time().value + kLaunchUs * cost.launches;
  add_passes(measured, {.whole_us = us, .timed_us = us}, duration);
  return duration;
}

double tokens_of(const cost::RequestGroup& group) {
  return static_cast<double>(group.count * group.new_tokens);
}

Duration duration_of(const Case& measured, const cost::LayerCost& cost,
                     const cost::SystemSpec& system) {
  Duration duration;
  double activations = 0;
  for (const auto& stage : cost.stages()) activations += stage.traffic.activations;
  // Lists that the host makes for every case, those of the dense regime.
  double list_bytes = 0;
  double positions = 0;  // of one request; others stand at the same
  for (const auto& group : measured.requests) {
    const auto length = static_cast<double>(group.past_tokens + group.new_tokens);
    if (!cost.work().any_sparse()) list_bytes += 4 * tokens_of(group) * length;
    positions += static_cast<double>(group.new_tokens);
  }
  duration.prepare_s = kAllocateS + 2 * list_bytes / kUploadBytesPerS + positions * kRopeS +
                       activations / system.hbm_bytes_per_s;
  add_passes(measured, passes_of(measured, cost, system), duration);
  return duration;
}

}  // namespace

Duration& Duration::operator+=(const Duration& other) {
  shared_s += other.shared_s;
  prepare_s += other.prepare_s;
  passes_s += other.passes_s;
  host_s += other.host_s;
  return *this;
}

Result<std::vector<Duration>> durations(std::span<const Case> measured,
                                        const model::LayerPlan& layer,
                                        const cost::SystemSpec& system) {
  std::vector<Duration> result;
  std::vector<std::string> layers;  // those that are kept, the latest last
  std::set<std::string> caches;
  double most_tokens = 0;
  std::string selection_of;
  std::string weights_of;  // of the product before
  for (const auto& what : measured) {
    if (what.product) {
      const auto key = fmt::format("{}x{}/{}", what.product->n, what.product->k, name(what.gemm));
      result.push_back(duration_of_product(what, system, key == weights_of));
      weights_of = key;
      continue;
    }
    const auto plan = layer_of(what, layer);
    DSAPERF_TRY_ASSIGN(const auto cost, cost::layer_cost(plan, what.shape()));
    auto duration = duration_of(what, cost, system);
    const auto key = LayerArena::layer_key(what);
    const auto kept = std::ranges::find(layers, key);
    if (kept != layers.end()) {
      std::rotate(kept, kept + 1, layers.end());
    } else {
      double weights = 0;
      for (const auto& stage : cost.stages()) weights += stage.traffic.weights;
      duration.shared_s += 4 * weights / kDrawnBytesPerS;  // drawn in bf16, rounded, sent
      layers.push_back(key);
      if (layers.size() > LayerArena::kLayersKept) layers.erase(layers.begin());
    }
    if (caches.insert(LayerArena::cache_key(what)).second) {
      constexpr double kRowBytes = kernels::kKvRowBytesBf16 + kernels::kIndexKeyBytes;
      duration.shared_s +=
          static_cast<double>(LayerArena::Options{}.distinct_tokens) * kRowBytes / kDrawnBytesPerS;
    }
    const double tokens = cost.work().tokens;
    const double x_bytes = 2 * tokens * plan.geometry.hidden;
    if (tokens > most_tokens) {
      duration.shared_s += x_bytes / kDrawnBytesPerS + x_bytes / kUploadBytesPerS;
      most_tokens = tokens;
    }
    if (what.role == model::IndexerRole::kShared && cost.work().any_sparse() &&
        selection_of != what.shape_text()) {
      const double list_bytes = 4 * tokens * (plan.indexer ? plan.indexer->topk : 0);
      duration.shared_s += 2 * list_bytes / kUploadBytesPerS;
      selection_of = what.shape_text();
    }
    result.push_back(duration);
  }
  return result;
}

}  // namespace dsaperf::collect
