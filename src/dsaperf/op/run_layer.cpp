#include "dsaperf/op/run_layer.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/past_tokens.hpp"
#include "dsaperf/op/random_normal.hpp"
#include "dsaperf/op/safetensors.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <unordered_set>

namespace dsaperf::op {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kXStream = 16;
constexpr std::uint64_t kSelectionStream = 17;
constexpr int kColdSamples = 3;
constexpr int kWarmSamples = 15;

// Adds up the parts of each stage of one pass.
class StageClock : public DsaLayer::Observer {
 public:
  explicit StageClock(Backend& backend) : backend_(backend) {}

  Result<void> before(model::Stage) override { return backend_.start_clock(); }
  Result<void> after(model::Stage stage) override {
    DSAPERF_TRY_ASSIGN(const double micros, backend_.stop_clock_us());
    micros_[stage] += micros;
    return {};
  }
  double micros(model::Stage stage) { return micros_[stage]; }

 private:
  Backend& backend_;
  std::map<model::Stage, double> micros_;
};

Result<void> check_options(const LayerSpec& spec, const RunOptions& options) {
  if (options.batch < 1 || options.batch > 1 << 20)
    return fail(Errc::kInvalidArgument, "batch {} is not 1 ... 1048576", options.batch);
  if (options.new_tokens < 1 || options.new_tokens > 1 << 20)
    return fail(Errc::kInvalidArgument, "new tokens {} are not 1 ... 1048576", options.new_tokens);
  if (options.past < 0 || options.past > 1 << 24)
    return fail(Errc::kInvalidArgument, "past tokens {} are not 0 ... 16777216", options.past);
  // A refusal here reads better than the allocator's later.
  const double bytes =
      static_cast<double>(options.batch) * static_cast<double>(options.new_tokens) *
      (2.0 * spec.hidden + 2.0 * spec.heads * (spec.query_dim() + 1088 + spec.v) + 8.0 * spec.topk);
  if (bytes > 0x1p40)
    return fail(Errc::kOutOfMemory, "batch {} x {} new tokens need {:.0f} GiB of activations",
                options.batch, options.new_tokens, bytes / 0x1p30);
  return {};
}

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

std::vector<std::int32_t> random_selection(std::span<const std::int32_t> visible, int topk,
                                           std::uint64_t seed) {
  std::vector<std::int32_t> selection(visible.size() * topk, -1);
  for (std::size_t t = 0; t < visible.size(); ++t) {
    std::int32_t* list = &selection[t * topk];
    if (visible[t] <= topk) {
      for (std::int32_t i = 0; i < visible[t]; ++i) list[i] = i;
      continue;
    }
    // Floyd: one draw a position, no repetition.
    std::unordered_set<std::int32_t> chosen;
    for (std::int32_t i = 0; i < topk; ++i) {
      const std::int32_t limit = visible[t] - topk + i;
      const auto drawn =
          static_cast<std::int32_t>(uniform_at(seed, kSelectionStream, t * topk + i) * (limit + 1));
      list[i] = chosen.insert(drawn).second ? drawn : limit;
      chosen.insert(list[i]);
    }
  }
  return selection;
}

Result<LayerRun> run_layer(Backend& backend, const LayerSpec& spec, const LayerWeights& weights,
                           const RunOptions& options, const std::filesystem::path& dump) {
  DSAPERF_TRY(check_options(spec, options));
  DSAPERF_TRY_ASSIGN(const auto layer, DsaLayer::create(backend, spec, weights));
  const std::int64_t context = options.past + options.new_tokens;
  const std::int64_t pages =
      options.batch * ((context + kernels::kPageTokens - 1) / kernels::kPageTokens);
  DSAPERF_TRY_ASSIGN(
      auto cache, CacheManager::create(
                      backend, {.pages = pages, .kv = options.kv, .index_keys = spec.has_indexer}));
  std::vector<BatchRequest> requests;
  std::vector<std::int32_t> visible;
  for (std::int64_t r = 0; r < options.batch; ++r) {
    requests.push_back({.request = cache.add_request(), .new_tokens = options.new_tokens});
    DSAPERF_TRY(fill_past(backend, cache, spec, weights, requests.back().request, options.past,
                          {.seed = options.seed, .stream = static_cast<std::uint64_t>(r)}));
    for (std::int64_t i = 0; i < options.new_tokens; ++i)
      visible.push_back(static_cast<std::int32_t>(options.past + i + 1));
  }
  std::vector<std::uint16_t> x(options.batch * options.new_tokens * spec.hidden);
  fill_normal_bf16(options.seed, kXStream, 0, static_cast<std::int64_t>(x.size()), 1, x.data());
  std::vector<std::int32_t> selection;
  if (!spec.has_indexer && context > spec.topk)
    selection = random_selection(visible, spec.topk, options.seed);
  DSAPERF_TRY_ASSIGN(auto pass, layer.prepare(cache, requests, x, selection));
  for (const std::int64_t token : tokens_to_check(pass, options.check_tokens))
    pass.kept_scores[token] = {};

  LayerRun run{.dense = pass.dense,
               .tokens = pass.tokens,
               .weights = {weight_bytes(weights)},
               .caches = cache.bytes()};
  for (const auto& [name, tensor] : pass.tensors)
    run.activations += Bytes{static_cast<std::int64_t>(tensor.buffer.bytes())};
  for (const model::Stage stage : pass.stages) run.stages.push_back({.stage = stage});

  const auto start = Clock::now();
  const auto spent = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const auto sample = [&](std::vector<double> StageTime::* samples) -> Result<void> {
    StageClock clock(backend);
    DSAPERF_TRY(layer.run(pass, cache, clock));
    for (StageTime& time : run.stages) (time.*samples).push_back(clock.micros(time.stage));
    return {};
  };
  for (int i = 0; i < kColdSamples && (i == 0 || spent() < options.seconds / 2); ++i) {
    DSAPERF_TRY(backend.flush_caches());
    DSAPERF_TRY(sample(&StageTime::cold_us));
  }
  for (int i = 0; i < kWarmSamples && spent() < options.seconds; ++i)
    DSAPERF_TRY(sample(&StageTime::warm_us));

  if (options.check_tokens > 0) {
    DSAPERF_TRY_ASSIGN(run.check, check_layer(layer, weights, pass, cache, options.threads));
  }
  if (!dump.empty()) DSAPERF_TRY(write_dump(backend, pass, dump));
  return run;
}

}  // namespace dsaperf::op
