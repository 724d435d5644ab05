#include "dsaperf/op/layer_timing.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/op/new_tokens.hpp"
#include "dsaperf/op/past_tokens.hpp"
#include "dsaperf/op/random_normal.hpp"

#include <algorithm>
#include <unordered_set>

namespace dsaperf::op {
namespace {

constexpr std::uint64_t kSelectionStream = 17;

// Stamps 0 and 1 are around a whole pass, then come two around nothing; those of stages follow, two
// for each part.
constexpr std::size_t kNothingStamp = 2;
constexpr std::size_t kFirstStageStamp = 4;

Result<void> check_shape(const LayerSpec& spec, const LayerShape& shape) {
  double tokens = 0;
  for (const auto& group : shape.groups) {
    if (group.requests < 1 || group.requests > 1 << 20)
      return fail(Errc::kInvalidArgument, "batch {} is not 1 ... 1048576", group.requests);
    if (group.new_tokens < 1 || group.new_tokens > 1 << 20)
      return fail(Errc::kInvalidArgument, "new tokens {} are not 1 ... 1048576", group.new_tokens);
    if (group.past < 0 || group.past > 1 << 24)
      return fail(Errc::kInvalidArgument, "past tokens {} are not 0 ... 16777216", group.past);
    tokens += static_cast<double>(group.requests) * static_cast<double>(group.new_tokens);
  }
  // A refusal here reads better than the allocator's later.
  const double bytes =
      tokens *
      (2.0 * spec.hidden + 2.0 * spec.heads * (spec.query_dim() + 1088 + spec.v) + 8.0 * spec.topk);
  if (bytes > 0x1p40)
    return fail(Errc::kOutOfMemory, "{:.0f} new tokens need {:.0f} GiB of activations", tokens,
                bytes / 0x1p30);
  return {};
}

std::int64_t pages_of(const LayerShape& shape) {
  std::int64_t pages = 0;
  for (const auto& group : shape.groups) {
    const std::int64_t context = std::max(group.past + group.new_tokens, shape.pass.longest);
    pages += group.requests * ceil_div(context, kernels::kPageTokens);
  }
  return pages;
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

// Stamps before and after each part of a stage, behind two with nothing between them.
class LayerTimer::Stamps : public DsaLayer::Observer {
 public:
  explicit Stamps(Backend& backend) : backend_(backend) {}

  Result<void> nothing() {
    DSAPERF_TRY(backend_.stamp(kNothingStamp));
    return backend_.stamp(kNothingStamp + 1);
  }
  Result<void> before(model::Stage) override { return backend_.stamp(next_++); }
  Result<void> after(model::Stage stage) override {
    stamped_.push_back(stage);
    return backend_.stamp(next_++);
  }
  std::vector<model::Stage> stamped() && { return std::move(stamped_); }

 private:
  Backend& backend_;
  std::size_t next_ = kFirstStageStamp;
  std::vector<model::Stage> stamped_;
};

Result<std::unique_ptr<LayerTimer>> LayerTimer::create(const DsaLayer& layer,
                                                       const LayerWeights& weights,
                                                       const LayerShape& shape, Launch launch,
                                                       int warmup) {
  const LayerSpec& spec = layer.spec();
  DSAPERF_TRY(check_shape(spec, shape));
  DSAPERF_TRY_ASSIGN(
      auto cache, CacheManager::create(
                      layer.backend(),
                      {.pages = pages_of(shape), .kv = shape.kv, .index_keys = spec.has_indexer}));
  std::vector<BatchRequest> requests;
  std::vector<std::int32_t> position;
  std::int64_t longest = shape.pass.longest;
  for (const auto& group : shape.groups) {
    longest = std::max(longest, group.past + group.new_tokens);
    for (std::int64_t r = 0; r < group.requests; ++r) {
      const auto stream = static_cast<std::uint64_t>(requests.size());
      requests.push_back({.request = cache.add_request(), .new_tokens = group.new_tokens});
      DSAPERF_TRY(fill_past(layer.backend(), cache, spec, weights, requests.back().request,
                            group.past, {.seed = shape.seed, .stream = stream}));
      for (std::int64_t i = 0; i < group.new_tokens; ++i)
        position.push_back(static_cast<std::int32_t>(group.past + i));
    }
  }
  const auto x = random_new_tokens(spec, weights, shape.seed, position);
  std::vector<std::int32_t> selection;
  if (!spec.has_indexer && longest > spec.topk) {
    std::vector<std::int32_t> visible;
    for (const auto at : position) visible.push_back(at + 1);
    selection = random_selection(visible, spec.topk, shape.seed);
  }
  DSAPERF_TRY_ASSIGN(auto pass, layer.prepare(cache, requests, x, selection, shape.pass));
  auto owned = std::make_unique<CacheManager>(std::move(cache));
  DSAPERF_TRY_ASSIGN(auto timer, over(layer, *owned, std::move(pass), launch, warmup));
  timer->owned_cache_ = std::move(owned);
  return timer;
}

Result<std::unique_ptr<LayerTimer>> LayerTimer::over(const DsaLayer& layer, CacheManager& cache,
                                                     ForwardPass pass, Launch launch, int warmup,
                                                     std::vector<model::Stage> only) {
  std::unique_ptr<LayerTimer> timer(
      new LayerTimer(layer, &cache, std::move(pass), launch, std::move(only)));
  for (int i = 0; i < warmup; ++i) DSAPERF_TRY(layer.enqueue(timer->pass_, cache));
  DSAPERF_TRY(layer.backend().synchronise());
  DSAPERF_TRY(timer->record());
  return timer;
}

Result<void> LayerTimer::launch_kernels(DsaLayer::Observer& observer) {
  if (only_.empty()) return layer_.enqueue(pass_, *cache_, observer);
  return layer_.enqueue_only(pass_, *cache_, only_, observer);
}

Result<void> LayerTimer::launch_stamped() {
  Stamps stamps(layer_.backend());
  if (!only_.empty()) DSAPERF_TRY(stamps.nothing());
  DSAPERF_TRY(launch_kernels(stamps));
  stamped_ = std::move(stamps).stamped();
  return {};
}

Result<void> LayerTimer::record() {
  replay_ = {};
  replay_stages_ = {};
  if (launch_ == Launch::kEager) return {};
  const auto pass = [this]() -> Result<void> {
    DsaLayer::Observer nobody;
    return launch_kernels(nobody);
  };
  DSAPERF_TRY_ASSIGN(replay_, layer_.backend().record(pass));
  DSAPERF_TRY(launch_stamped());  // once before, so that its stamps are there
  DSAPERF_TRY(layer_.backend().synchronise());
  DSAPERF_TRY_ASSIGN(replay_stages_, layer_.backend().record([this] { return launch_stamped(); }));
  return {};
}

Result<void> LayerTimer::enqueue() {
  if (replay_) return replay_->replay();
  DsaLayer::Observer nobody;
  return launch_kernels(nobody);
}

Result<void> LayerTimer::run() {
  DSAPERF_TRY(enqueue());
  DSAPERF_TRY(layer_.backend().synchronise());
  return layer_.fetch_scores(pass_);
}

Result<Micros> LayerTimer::cold() {
  Backend& backend = layer_.backend();
  DSAPERF_TRY(backend.flush_caches());
  DSAPERF_TRY(backend.stamp(0));
  DSAPERF_TRY(enqueue());
  DSAPERF_TRY(backend.stamp(1));
  DSAPERF_TRY_ASSIGN(const double micros, backend.between_us(0, 1));
  return Micros{micros};
}

Result<Micros> LayerTimer::warm(int passes) {
  if (passes < 1) return fail(Errc::kInvalidArgument, "{} passes are not one or more", passes);
  Backend& backend = layer_.backend();
  // Keeps the device busy while the timed ones are launched.
  if (!long_passes_) DSAPERF_TRY(enqueue());
  DSAPERF_TRY(backend.stamp(0));
  for (int i = 0; i < passes; ++i) DSAPERF_TRY(enqueue());
  DSAPERF_TRY(backend.stamp(1));
  DSAPERF_TRY_ASSIGN(const double micros, backend.between_us(0, 1));
  long_passes_ = micros / passes > kLongPassUs;
  return Micros{micros / passes};
}

Result<std::vector<Micros>> LayerTimer::cold_stages() {
  DSAPERF_TRY(layer_.backend().flush_caches());
  return stages();
}

Result<std::vector<Micros>> LayerTimer::warm_stages() {
  if (!only_.empty()) DSAPERF_TRY(layer_.backend().fill_caches(layer_bytes().value));
  return stages();
}

Result<std::vector<Micros>> LayerTimer::stages() {
  Backend& backend = layer_.backend();
  if (replay_stages_) {
    DSAPERF_TRY(replay_stages_->replay());
  } else {
    DSAPERF_TRY(launch_stamped());
  }
  DSAPERF_TRY(backend.synchronise());
  // From the end of a stage to the start of the next nothing runs: that is what a stamp takes. The
  // least of them, since between parts of scores their copies may stand. One stage alone has no
  // next: two stamps with nothing between tell.
  double stamp_us = 0;
  for (std::size_t i = 1; i < stamped_.size(); ++i) {
    const std::size_t before = kFirstStageStamp + 2 * i;
    DSAPERF_TRY_ASSIGN(const double gap, backend.between_us(before - 1, before));
    stamp_us = i == 1 ? gap : std::min(stamp_us, gap);
  }
  if (stamped_.size() == 1 && !only_.empty()) {
    DSAPERF_TRY_ASSIGN(stamp_us, backend.between_us(kNothingStamp, kNothingStamp + 1));
  }
  std::vector<Micros> times(pass_.stages.size());
  for (std::size_t i = 0; i < stamped_.size(); ++i) {
    const std::size_t before = kFirstStageStamp + 2 * i;
    DSAPERF_TRY_ASSIGN(const double taken, backend.between_us(before, before + 1));
    const auto at = std::find(pass_.stages.begin(), pass_.stages.end(), stamped_[i]);
    times[at - pass_.stages.begin()] += Micros{std::max(taken - stamp_us, 0.0)};
  }
  return times;
}

Bytes LayerTimer::activation_bytes() const {
  Bytes bytes;
  for (const auto& [name, tensor] : pass_.tensors)
    bytes += Bytes{static_cast<std::int64_t>(tensor.buffer.bytes())};
  return bytes;
}

Bytes LayerTimer::layer_bytes() const {
  const auto rows = cache_->kv_rows();
  double cached = 0;
  for (const auto& request : pass_.requests) {
    const double context = static_cast<double>(request.context());
    const double gathered = static_cast<double>(request.new_tokens) * pass_.selected;
    cached += std::min(context, gathered) * static_cast<double>(rows.row_stride_bytes);
    if (pass_.has("scores_scratch"))
      cached += context * kernels::kIndexPageBytes / kernels::kPageTokens;
  }
  return layer_.weight_bytes() + activation_bytes() + Bytes{static_cast<std::int64_t>(cached)};
}

}  // namespace dsaperf::op
