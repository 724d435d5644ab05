#include "dsaperf/collect/layer_source.hpp"

#include "dsaperf/collect/gemm_timing.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/op/layer_timing.hpp"
#include "dsaperf/trace/rules.hpp"

#include <algorithm>
#include <cmath>
#include <optional>

namespace dsaperf::collect {
namespace {

using Seconds = std::chrono::duration<double>;

// Readings taken beside the samples; what a row says of the card.
class CardLog {
 public:
  explicit CardLog(CardReader* reader) : reader_(reader) {}

  Result<void> take() {
    if (reader_ == nullptr) return {};
    DSAPERF_TRY_ASSIGN(auto reading, reader_->read());
    readings_.push_back(std::move(reading));
    return {};
  }

  CardState state() const {
    CardState state;
    if (readings_.empty()) return state;
    double power = 0;
    std::vector<int> sm_mhz;
    for (const auto& reading : readings_) {
      sm_mhz.push_back(reading.sm_mhz);
      power += reading.power_w;
      state.memory_mhz = std::max(state.memory_mhz, reading.memory_mhz);
      state.temperature_c = std::max(state.temperature_c, reading.temperature_c);
      state.clocks_locked = state.clocks_locked || reading.clocks_locked;
      for (const auto& reason : reading.throttle_reasons) {
        auto& reasons = state.throttle_reasons;
        if (std::ranges::find(reasons, reason) == reasons.end()) reasons.push_back(reason);
      }
    }
    std::ranges::sort(sm_mhz);
    state.sm_mhz = sm_mhz[sm_mhz.size() / 2];
    state.power_w = power / static_cast<double>(readings_.size());
    const Seconds taken = std::chrono::steady_clock::now() - start_;
    state.energy_j = state.power_w * taken.count();
    return state;
  }

 private:
  CardReader* reader_;
  std::vector<CardReading> readings_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

op::Launch launch_of(Launch launch) {
  return launch == Launch::kGraph ? op::Launch::kGraph : op::Launch::kEager;
}

double median_us(std::vector<double> samples) {
  return summarise(std::move(samples)).median.value;
}

// Position of a stage among those of a pass.
Result<std::size_t> index_of(const std::vector<model::Stage>& stages, model::Stage stage) {
  const auto found = std::ranges::find(stages, stage);
  if (found == stages.end()) {
    return fail(Errc::kInvalidArgument, "the layer does not run stage {}", model::name(stage));
  }
  return static_cast<std::size_t>(found - stages.begin());
}

int as_many_as_fill(double us, Micros one, int most) {
  if (!(one.value > 0)) return most;
  return static_cast<int>(std::clamp(std::ceil(us / one.value), 1.0, static_cast<double>(most)));
}

// Warm and cold summaries of what `timer` runs, into `result`; returns about what one run takes.
template <typename Timer>
Result<Micros> take_summaries(Timer& timer, const Stopping& stopping, CardLog& card,
                              Measurement& result) {
  DSAPERF_TRY_ASSIGN(const Micros one, timer.warm(1));
  const int passes = as_many_as_fill(kSampleUs, one, kMostPasses);
  const Sample warm = [&]() -> Result<Micros> { return timer.warm(passes); };
  DSAPERF_TRY_ASSIGN(auto settled, settle(warm, stopping));
  DSAPERF_TRY(card.take());
  DSAPERF_TRY_ASSIGN(auto warm_us, sample_until(warm, stopping, std::move(settled)));
  DSAPERF_TRY(card.take());
  DSAPERF_TRY_ASSIGN(auto cold_us, sample_until([&] { return timer.cold(); }, stopping));
  DSAPERF_TRY(card.take());
  result.warm = summarise(std::move(warm_us));
  result.cold = summarise(std::move(cold_us));
  return one;
}

// Takes the times of a pass ready to run.
class PassTimes {
 public:
  PassTimes(op::LayerTimer& timer, const LayerSource::Options& options, CardLog& card)
      : timer_(timer), options_(options), card_(card), stages_(timer.pass().stages) {}

  Result<Measurement> whole() {
    Measurement result;
    DSAPERF_TRY_ASSIGN(const Micros one, take_summaries(timer_, options_.stopping, card_, result));
    DSAPERF_TRY(
        warm_and_cold_stages(as_many_as_fill(kStageSamplesUs, one, options_.stage_samples)));
    for (std::size_t i = 0; i < stages_.size(); ++i) add_stage(result, i);
    return result;
  }

  // Of these stages alone; a sample is the sum of them in one pass.
  Result<Measurement> only(const std::vector<model::Stage>& wanted) {
    std::vector<std::size_t> indices;
    for (const auto stage : wanted) {
      DSAPERF_TRY_ASSIGN(const auto index, index_of(stages_, stage));
      indices.push_back(index);
    }
    const auto sum_of = [&indices](const std::vector<Micros>& times) {
      Micros sum;
      for (const auto index : indices) sum += times[index];
      return sum;
    };
    const Sample warm = [&]() -> Result<Micros> {
      DSAPERF_TRY(add_sample(&op::LayerTimer::warm_stages, warm_));
      return sum_of(last_);
    };
    const Sample cold = [&]() -> Result<Micros> {
      DSAPERF_TRY(add_sample(&op::LayerTimer::cold_stages, cold_));
      return sum_of(last_);
    };
    DSAPERF_TRY_ASSIGN(auto settled, settle(warm, options_.stopping));
    for (auto& samples : warm_) {
      samples.erase(samples.begin(), samples.end() - static_cast<std::ptrdiff_t>(settled.size()));
    }
    DSAPERF_TRY(card_.take());
    Measurement result;
    DSAPERF_TRY_ASSIGN(auto warm_us, sample_until(warm, options_.stopping, std::move(settled)));
    DSAPERF_TRY(card_.take());
    DSAPERF_TRY_ASSIGN(auto cold_us, sample_until(cold, options_.stopping));
    DSAPERF_TRY(card_.take());
    result.warm = summarise(std::move(warm_us));
    result.cold = summarise(std::move(cold_us));
    for (const auto index : indices) add_stage(result, index);
    return result;
  }

 private:
  using StageSamples = std::vector<std::vector<double>>;  // [stage][sample]
  using TakeStages = Result<std::vector<Micros>> (op::LayerTimer::*)();

  Result<void> add_sample(TakeStages take, StageSamples& samples) {
    DSAPERF_TRY_ASSIGN(last_, (timer_.*take)());
    samples.resize(stages_.size());
    for (std::size_t i = 0; i < last_.size(); ++i) samples[i].push_back(last_[i].value);
    return {};
  }

  Result<void> warm_and_cold_stages(int samples) {
    for (int i = 0; i < samples; ++i) {
      DSAPERF_TRY(add_sample(&op::LayerTimer::warm_stages, warm_));
    }
    for (int i = 0; i < samples; ++i) {
      DSAPERF_TRY(add_sample(&op::LayerTimer::cold_stages, cold_));
    }
    return {};
  }

  void add_stage(Measurement& result, std::size_t index) const {
    result.stages.push_back({.stage = stages_[index],
                             .time = {median_us(warm_[index])},
                             .cold = {median_us(cold_[index])}});
  }

  op::LayerTimer& timer_;
  const LayerSource::Options& options_;
  CardLog& card_;
  const std::vector<model::Stage>& stages_;
  StageSamples warm_;
  StageSamples cold_;
  std::vector<Micros> last_;
};

}  // namespace

struct LayerSource::State {
  std::unique_ptr<op::Backend> backend;
  Options options;
  std::unique_ptr<CardReader> reader;
  std::unique_ptr<KernelWitness> witness;
  SourceInfo info;
  std::unique_ptr<LayerArena> arena;

  std::optional<GemmWeights> weights;  // of the product before

  Result<Measurement> measure_product(const Case& what) {
    if (!weights || !weights->serve(what)) {
      weights.reset();  // before there are others
      DSAPERF_TRY_ASSIGN(weights,
                         GemmWeights::make(*backend, what.product->n, what.product->k, what.gemm));
    }
    DSAPERF_TRY_ASSIGN(auto timer,
                       GemmTimer::create(*backend, *weights, what.product->m, what.launch));
    CardLog card(reader.get());
    Measurement result;
    DSAPERF_TRY(take_summaries(*timer, options.stopping, card, result));
    result.card = card.state();
    if (witness == nullptr) {
      result.kernel_source = options.method;
      return result;
    }
    DSAPERF_TRY_ASSIGN(auto kernels, witness->kernels_of([&] { return timer->replay(); }));
    // A profiler that does not see into graphs sees the same kernels launched one by one.
    if (kernels.empty()) {
      DSAPERF_TRY_ASSIGN(kernels, witness->kernels_of([&] { return timer->run(); }));
    }
    DSAPERF_TRY_ASSIGN(result.kernel_source, gemm_evidence_of(kernels));
    return result;
  }

  Result<void> add_evidence(op::LayerTimer& timer, const Case& what, Measurement& result) {
    if (witness == nullptr) {
      result.kernel_source = options.method;
      return {};
    }
    DSAPERF_TRY_ASSIGN(auto kernels, witness->kernels_of([&] { return timer.run(); }));
    auto ran = timer.pass().stages;
    if (!what.whole()) {
      std::erase_if(
          ran, [&](model::Stage stage) { return !op::DsaLayer::runs_with(stage, what.stages); });
    }
    // A profiler that does not see into graphs sees the same kernels launched one by one.
    if (kernels.empty()) {
      DSAPERF_TRY_ASSIGN(kernels, witness->kernels_of([&]() -> Result<void> {
        op::DsaLayer::Observer nobody;
        DSAPERF_TRY(timer.layer().enqueue_only(timer.pass(), timer.cache(), ran, nobody));
        return timer.layer().backend().synchronise();
      }));
    }
    DSAPERF_TRY_ASSIGN(const auto evidence, evidence_of(kernels, ran));
    result.kernel_source = evidence.kernel_source;
    for (auto& stage : result.stages) {
      if (stage.stage == model::Stage::kAttention) stage.kernel = evidence.kernel_source;
      if (stage.stage == model::Stage::kIndexerScores) stage.kernel = evidence.scores;
      if (stage.stage == model::Stage::kTopk) stage.kernel = evidence.topk;
    }
    return {};
  }
};

LayerSource::LayerSource(std::unique_ptr<State> state) : state_(std::move(state)) {
}
LayerSource::~LayerSource() = default;

const SourceInfo& LayerSource::info() const {
  return state_->info;
}

Result<std::unique_ptr<LayerSource>> LayerSource::create(std::unique_ptr<op::Backend> backend,
                                                         SpecOfCase spec_of, Options options,
                                                         std::unique_ptr<CardReader> reader,
                                                         std::unique_ptr<KernelWitness> witness) {
  auto state = std::make_unique<State>();
  state->info = {.framework = "dsaperf",
                 .version = options.version,
                 .device = options.device.empty() ? backend->device_name() : options.device,
                 .driver = options.driver,
                 .method = options.method};
  state->arena =
      std::make_unique<LayerArena>(*backend, std::move(spec_of),
                                   LayerArena::Options{.pages = options.cache_pages,
                                                       .distinct_tokens = options.distinct_tokens,
                                                       .seed = options.seed});
  state->backend = std::move(backend);
  state->options = std::move(options);
  state->reader = std::move(reader);
  state->witness = std::move(witness);
  return std::unique_ptr<LayerSource>(new LayerSource(std::move(state)));
}

Result<Measurement> LayerSource::measure(const Case& what) {
  auto& state = *state_;
  if (what.product) return state.measure_product(what);
  DSAPERF_TRY_ASSIGN(auto prepared, state.arena->prepare(what));
  DSAPERF_TRY_ASSIGN(
      auto timer, op::LayerTimer::over(*prepared.layer, *prepared.cache, std::move(prepared.pass),
                                       launch_of(what.launch), state.options.warmup, what.stages));
  CardLog card(state.reader.get());
  PassTimes times(*timer, state.options, card);
  DSAPERF_TRY_ASSIGN(auto result, what.whole() ? times.whole() : times.only(what.stages));
  result.card = card.state();
  DSAPERF_TRY(state.add_evidence(*timer, what, result));
  return result;
}

Result<std::string> gemm_evidence_of(const std::vector<std::string>& kernels) {
  DSAPERF_TRY_ASSIGN(const auto rules, trace::RuleSet::shipped());
  for (const auto& printed : kernels) {
    const auto name = trace::canonical_name(printed);
    const auto* rule = rules.match({.name = name, .op = {}, .range = {}}, nullptr);
    if (rule != nullptr && rule->part == trace::Part::kGemm) return trace::display_name(name);
  }
  return fail(Errc::kInvalidArgument, "evidence: no kernel that is known to multiply ran: {}",
              fmt::join(kernels, ", "));
}

Result<Evidence> evidence_of(const std::vector<std::string>& kernels,
                             const std::vector<model::Stage>& stages) {
  DSAPERF_TRY_ASSIGN(const auto rules, trace::RuleSet::shipped());
  const auto has = [&](model::Stage stage) {
    return std::ranges::find(stages, stage) != stages.end();
  };
  Evidence evidence;
  for (const auto& printed : kernels) {
    const auto name = trace::canonical_name(printed);
    // Translates positions to rows of the cache, in every layer; traces count it to top-k.
    if (name.base().find("selection_rows") != std::string_view::npos) continue;
    // Attention's rows out of an fp8 cache, before the kernel that attends.
    if (name.base().find("rows_to_bf16") != std::string_view::npos) continue;
    const auto* rule = rules.match({.name = name, .op = {}, .range = {}}, nullptr);
    const auto part = rule != nullptr ? rule->part : trace::Part::kUnclassified;
    const auto note = [&](std::string& first) {
      if (first.empty()) first = trace::display_name(name);
    };
    if (part == trace::Part::kAttention || part == trace::Part::kAttentionDense) {
      note(evidence.kernel_source);
    } else if (part == trace::Part::kIndexerScores) {
      note(evidence.scores);
    } else if (part == trace::Part::kTopk) {
      note(evidence.topk);
    }
  }
  const auto check = [&](model::Stage stage, const std::string& seen) -> Result<void> {
    if (has(stage) != seen.empty()) return {};
    return fail(Errc::kInvalidArgument, "evidence: stage {} {}: {} kernels seen: {}",
                model::name(stage),
                has(stage) ? "ran no kernel that is known as its own"
                           : "is none of this layer's, and " + seen + " ran",
                kernels.size(), fmt::join(kernels, ", "));
  };
  DSAPERF_TRY(check(model::Stage::kAttention, evidence.kernel_source));
  DSAPERF_TRY(check(model::Stage::kIndexerScores, evidence.scores));
  DSAPERF_TRY(check(model::Stage::kTopk, evidence.topk));
  return evidence;
}

}  // namespace dsaperf::collect
