#include "dsaperf/op/run_layer.hpp"

#include "dsaperf/core/host_ranges.hpp"
#include "dsaperf/op/host_range.hpp"
#include "dsaperf/op/safetensors.hpp"

#include <chrono>

namespace dsaperf::op {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kColdSamples = 3;
constexpr int kWarmSamples = 15;
constexpr int kPassesPerSample = 10;  // of warm whole passes

std::int64_t weight_bytes(const LayerWeights& weights) {
  std::size_t bytes = 0;
  for (const Matrix* m : {&weights.q_a, &weights.kv_a, &weights.q_b, &weights.kv_b, &weights.o,
                          &weights.iq, &weights.ik, &weights.iw})
    bytes += m->fp8.empty() ? 2 * m->bf16.size() : m->fp8.size() + 4 * m->scales.size();
  return static_cast<std::int64_t>(bytes);
}

Result<void> write_dump(Backend& backend, const ForwardPass& pass,
                        const std::filesystem::path& to) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, tensor] : pass.tensors) {
    if (name.ends_with("_scratch")) continue;
    NamedTensor& copy = tensors.emplace_back();
    copy.name = name;
    copy.type = tensor.type;
    copy.shape = tensor.shape;
    copy.bytes.resize(tensor.buffer.bytes());
    DSAPERF_TRY(backend.download(tensor.buffer.data(), copy.bytes.size(), copy.bytes.data()));
  }
  return write_safetensors(to, tensors);
}

}  // namespace

Result<LayerRun> run_layer(Backend& backend, const LayerSpec& spec, const LayerWeights& weights,
                           const RunOptions& options, const std::filesystem::path& dump) {
  DSAPERF_TRY_ASSIGN(const auto layer, DsaLayer::create(backend, spec, weights));
  const LayerShape shape{.groups = {{.requests = options.batch,
                                     .new_tokens = options.new_tokens,
                                     .past = options.past}},
                         .kv = options.kv,
                         .seed = options.seed,
                         .pass = {.score_bytes = options.score_bytes}};
  DSAPERF_TRY_ASSIGN(const auto timer,
                     LayerTimer::create(layer, weights, shape, options.launch, options.warmup));
  LayerRun run{.dense = timer->pass().dense,
               .tokens = timer->pass().tokens,
               .weights = {weight_bytes(weights)},
               .caches = timer->cache().bytes(),
               .activations = timer->activation_bytes()};
  for (const model::Stage stage : timer->pass().stages) run.stages.push_back({.stage = stage});

  // On the host a pass takes long and a copy of some scores does not show: one pass is both timed
  // and checked. Else a pass of its own is, as it always computes the same.
  const auto checked = tokens_to_check(timer->pass(), options.check_tokens);
  const bool check_timed_pass = !checked.empty() && !options.whole_passes;
  if (check_timed_pass) DSAPERF_TRY(layer.keep_scores(timer->pass(), checked));

  const auto start = Clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const auto take = [&](const std::vector<Micros>& stages,
                        std::vector<double> StageTime::* samples) {
    Micros sum;
    for (std::size_t i = 0; i < stages.size(); ++i) {
      (run.stages[i].*samples).push_back(stages[i].value);
      sum += stages[i];
    }
    return sum.value;
  };
  for (int i = 0; i < kColdSamples && (i == 0 || spent() < options.seconds / 2); ++i) {
    DSAPERF_TRY_ASSIGN(const auto stages, timer->cold_stages());
    run.cold_us.push_back(take(stages, &StageTime::cold_us));
    if (!options.whole_passes) continue;
    DSAPERF_TRY_ASSIGN(const auto whole, timer->cold());
    run.cold_us.back() = whole.value;
  }
  for (int i = 0; i < kWarmSamples && spent() < options.seconds; ++i) {
    const HostRange range{std::string(kTimedRange)};
    DSAPERF_TRY_ASSIGN(const auto stages, timer->warm_stages());
    run.warm_us.push_back(take(stages, &StageTime::warm_us));
    if (!options.whole_passes) continue;
    DSAPERF_TRY_ASSIGN(const auto whole, timer->warm(kPassesPerSample));
    run.warm_us.back() = whole.value;
  }
  run.peak = {backend.memory().peak};

  if (!checked.empty()) {
    if (check_timed_pass) {
      DSAPERF_TRY(layer.fetch_scores(timer->pass()));
    } else {
      DSAPERF_TRY(layer.keep_scores(timer->pass(), checked));
      DSAPERF_TRY(layer.run(timer->pass(), timer->cache()));
    }
    DSAPERF_TRY_ASSIGN(run.check,
                       check_layer(layer, weights, timer->pass(), timer->cache(), options.threads));
  }
  if (!dump.empty()) DSAPERF_TRY(write_dump(backend, timer->pass(), dump));
  return run;
}

}  // namespace dsaperf::op
