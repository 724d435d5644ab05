#include "dsaperf/serving/estimate.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/step_times.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

double default_max_batch(Engine engine) {
  return engine == Engine::kVllm ? 1024 : 2048;
}

std::string fit_reason(Fit fit, const MemoryUse& use, double card_bytes) {
  return fmt::format(
      "{:.1f} GiB on a card of {:.1f} GiB: {}; fewer requests at a time, more GPUs or a smaller "
      "format would "
      "make it fit",
      use.total() / kGibi, card_bytes / kGibi,
      fit == Fit::kOutOfMemory ? "more than there is" : "the cache is beyond the engine's budget");
}

auto in_words(const char* which) {
  return [which](Error error) { return std::move(error).with_context(which); };
}

// `value` is what somebody chose; nothing is the engine's default, and right.
Result<void> check_between(std::optional<double> value, double low, double high,
                           std::string_view name) {
  if (!value || (*value >= low && *value <= high)) return {};  // NaN is not
  return fail(Errc::kInvalidArgument, "{} {}: from {} to {} is due", name, *value, low, high);
}

Result<void> check_inputs(const EstimateInputs& in) {
  if (in.concurrency && in.rate_per_s)
    return fail(Errc::kInvalidArgument, "a concurrency and a rate exclude each other");
  if (in.rate_per_s && (in.method == Method::kCompatible || in.mode == Mode::kStatic))
    return fail(
        Errc::kInvalidArgument,
        "a rate is simulated: neither the compatible method nor a static batch has arrivals");
  DSAPERF_TRY(check_workload({.isl = in.isl, .osl = in.osl, .prefix = in.prefix}));
  DSAPERF_TRY(check_between(in.concurrency, 1, kMostRequests, "concurrency"));
  const double rate = in.rate_per_s.value_or(1);
  const bool is_rate = rate > 0 && std::isfinite(rate);
  if (!is_rate) return fail(Errc::kInvalidArgument, "rate {}: more than 0 a second is due", rate);
  DSAPERF_TRY(check_between(in.length_ratio, kLeastLengthRatio, 1, "length ratio"));
  DSAPERF_TRY(check_between(in.prompts, 0, kMostRequests, "prompts"));
  DSAPERF_TRY(check_between(in.repeated_prompts, 0, kMostRequests, "repeated prompts"));
  DSAPERF_TRY(check_between(in.draft_tokens, 0, kMostDrafts, "draft tokens"));
  DSAPERF_TRY(check_between(in.draft_kept, 0, in.draft_tokens, "draft tokens kept"));
  const auto check_engine = [](const auto& of) -> Result<void> {  // of one kind of workers
    DSAPERF_TRY(check_between(of.memory_fraction, kLeastMemoryFraction, 1, "memory fraction"));
    DSAPERF_TRY(check_between(of.max_batch, 1, predict::kLargestSize, "max batch"));
    return check_between(of.chunk, 1, predict::kLargestSize, "chunk");
  };
  DSAPERF_TRY(check_engine(in));
  if (in.mode != Mode::kDisaggregated) return {};
  DSAPERF_TRY(check_engine(in.prefill));
  return check_engine(in.decode);
}

class Estimator {
 public:
  Estimator(const model::ModelSpec& spec, predict::compatible::OperatorSet& operators,
            const EstimateInputs& inputs)
      : spec_(spec), set_(operators), in_(inputs) {}

  Result<Estimate> run() {
    DSAPERF_TRY(check_inputs(in_));
    out_.inputs = in_;
    out_.warnings = spec_.warnings;
    if (in_.draft_tokens > 0 && in_.draft_kept == 0)
      warn("no draft token is kept (mtp_accepted 0): they cost time and save none");
    out_.model = spec_.name;
    out_.system = set_.system().name;
    out_.version = set_.version();
    out_.max_batch = in_.max_batch.value_or(default_max_batch(in_.engine));
    return in_.mode == Mode::kDisaggregated ? disaggregated() : together();
  }

 private:
  void warn(std::string text) { out_.warnings.push_back(std::move(text)); }
  void warn_once(std::string text) {
    if (std::find(out_.warnings.begin(), out_.warnings.end(), text) == out_.warnings.end())
      warn(std::move(text));
  }
  Workload workload() const { return {.isl = in_.isl, .osl = in_.osl, .prefix = in_.prefix}; }
  EngineOptions options() const {
    return {.memory_fraction = in_.memory_fraction,
            .max_sequence = {},
            .tokens_a_step = 1 + in_.draft_kept};
  }

  Result<Estimate> together() {
    DSAPERF_TRY(check_layout(spec_, in_.layout));
    out_.gpus = in_.layout.gpus();
    DSAPERF_TRY_ASSIGN(const auto model, passes(in_.layout, DeepEp::kBoth));
    take_concurrency();
    return in_.method == Method::kCompatible ? compatible(model) : modelled(model);
  }

  // A simulation shares its requests out between the copies of the attention itself.
  void take_concurrency() {
    const bool is_simulated = in_.method == Method::kModel && in_.mode == Mode::kInFlight;
    const double copies = in_.layout.dp * in_.layout.pp;
    const double sharers = is_simulated ? in_.layout.pp : copies;
    const double asked = in_.concurrency.value_or(1);
    out_.concurrency = sharers * std::max(1.0, std::floor(asked / sharers));
    batch_ = std::max(1.0, std::floor(out_.concurrency / copies));
    if (in_.concurrency && out_.concurrency != asked)
      warn(fmt::format("a concurrency of {:.0f} is not a multiple of {} = {:.0f}: {:.0f} are taken",
                       asked, is_simulated ? "pp" : "dp * pp", sharers, out_.concurrency));
  }

  Result<PassModel> passes(const Layout& layout, DeepEp exchanges) {
    DSAPERF_TRY_ASSIGN(auto shape, ModelShape::of(spec_));
    const bool compatible = in_.method == Method::kCompatible;
    const Quirks quirks = compatible ? in_.quirks : Quirks::none();
    FormatChoice choice = in_.formats;
    if (choice.kv.empty() && !compatible && shape.attention == ModelShape::Attention::kDsa) {
      choice.kv = default_kv(in_.engine, set_.system().sm_version, spec_);
      warn_once(fmt::format("the cache is taken as {}, what {} does by itself on this card",
                            choice.kv, name(in_.engine)));
    }
    out_.formats = formats_of(spec_, choice, quirks.has(Quirk::kGlmFp8AttentionAsBf16));
    if (shape.architecture != spec_.architecture)
      warn_once(fmt::format("{} is priced with the tables of {}", spec_.architecture,
                            shape.architecture));
    PassModel::Inputs inputs{.shape = std::move(shape),
                             .layout = layout,
                             .formats = out_.formats,
                             .engine = in_.engine,
                             .quirks = quirks,
                             .draft_tokens = in_.draft_tokens};
    if (!compatible) return by_collectives(std::move(inputs));
    // An estimate of the package has DeepEP's exchanges beyond a node alone.
    const bool beyond = layout.moe_ep > set_.system().gpus_per_node;
    if (beyond && in_.mode == Mode::kInFlight && quirks.has(Quirk::kAggregatedByCollectives))
      inputs.deepep = DeepEp::kNever;
    else if (beyond && PassModel::may_exchange(inputs))
      inputs.deepep = exchanges;
    // There it does not look whether the tables have rows of FP8 attention.
    if (inputs.exchanges() && in_.engine == Engine::kTrtllm && out_.formats.kv == "fp8" &&
        inputs.shape.attention == ModelShape::Attention::kMla)
      inputs.formats.fmha = "fp8";
    return PassModel::make(inputs, set_);
  }

  void tell_of_graphs(const Capacity& capacity, std::string_view whose) {
    if (capacity.largest_graph)
      warn(
          fmt::format("what SGLang sets aside for its CUDA graphs by itself leaves{} no room for a "
                      "request: graphs "
                      "of {:.0f} requests are taken (--cuda-graph-max-bs {:.0f})",
                      whose, *capacity.largest_graph, *capacity.largest_graph));
  }

  Result<PassModel> by_collectives(PassModel::Inputs inputs) {
    inputs.deepep = DeepEp::kNever;
    if (inputs.layout.moe_ep > set_.system().gpus_per_node)
      warn_once(
          fmt::format("experts over {} GPUs with {} a node get their tokens by collectives, "
                      "as without an all-to-all backend; that was not measured",
                      inputs.layout.moe_ep, set_.system().gpus_per_node));
    auto model = PassModel::make(inputs, set_);
    if (model && !model->inputs().nearest_attention.empty())
      warn_once(
          fmt::format("the tables have no rows of attention with {} products: those with {} "
                      "stand for them",
                      inputs.formats.attention, model->inputs().nearest_attention));
    return model;
  }

  Result<Estimate> compatible(const PassModel& model) {
    out_.chunk = in_.chunk.value_or(in_.isl);
    DSAPERF_TRY_ASSIGN(auto closed, closed_form(model, out_.chunk));
    out_.memory = closed.memory;
    out_.context = closed.context;
    out_.generation = closed.generation;
    const bool is_static = in_.mode == Mode::kStatic;
    out_.fits = closed.fit == Fit::kFits || (is_static && closed.fit != Fit::kOutOfMemory);
    if (out_.fits)
      take(closed);
    else
      out_.reason = fit_reason(closed.fit, closed.memory, set_.system().mem_capacity);
    out_.closed_form = std::move(closed);
    return std::move(out_);
  }

  Result<ClosedForm> closed_form(const PassModel& model, double chunk) {
    if (in_.mode == Mode::kStatic)
      return static_batch(model, set_.system(), set_.version(), workload(), batch_,
                          StaticPhase::kBoth, options());
    return in_flight(model, set_.system(), set_.version(), workload(), batch_, chunk, options());
  }

  void take(const ClosedForm& closed) {
    out_.ttft_ms = closed.ttft_ms;
    out_.tpot_ms = closed.tpot_ms;
    out_.request_ms = closed.request_ms;
    out_.output_tok_s = closed.output_tok_s;
    out_.output_tok_s_per_gpu = closed.output_tok_s_per_gpu(out_.gpus);
    out_.requests_s = closed.request_s;
  }

  Result<Estimate> modelled(const PassModel& model) {
    out_.chunk =
        in_.chunk.value_or(default_chunk(in_.engine, in_.layout, set_.system().mem_capacity));
    out_.capacity = capacity(
        spec_, model.inputs(), set_.system(), set_.version(),
        {.isl = in_.isl, .osl = in_.osl, .chunk = out_.chunk, .draft_tokens = in_.draft_tokens},
        in_.memory_fraction);
    out_.fits = out_.capacity->fits;
    out_.reason = out_.capacity->reason;
    out_.memory = out_.capacity->use;
    if (!out_.fits) return std::move(out_);
    tell_of_graphs(*out_.capacity, "");

    DSAPERF_TRY(show_passes(model, model));
    DSAPERF_TRY_ASSIGN(auto closed, closed_form(model, out_.chunk));
    if (in_.mode == Mode::kStatic) {
      take(closed);
    } else {
      DSAPERF_TRY(simulate_worker(model));
    }
    out_.closed_form = std::move(closed);
    return std::move(out_);
  }

  // One pass of each, line by line with its bound: a prompt, and decode half way through an answer.
  Result<void> show_passes(const PassModel& prefill, const PassModel& decode) {
    const double fresh = in_.isl - in_.prefix;
    const double total = in_.isl + std::floor(in_.osl / 2) + 1;
    DSAPERF_TRY_ASSIGN(out_.context, prefill.context(1, fresh, in_.prefix));
    prefill.bind_context(out_.context, 1, fresh, in_.prefix);
    DSAPERF_TRY_ASSIGN(out_.generation, decode.generation(batch_, total));
    decode.bind_generation(out_.generation, batch_, total);
    return {};
  }

  // One stage of a pipeline stands for all: each has its share of the requests.
  Result<void> simulate_worker(const PassModel& model) {
    const double stages = in_.layout.pp;
    SimulationInputs inputs{.engine = in_.engine,
                            .traffic = {},
                            .ranks = in_.layout.dp,
                            .max_batch = static_cast<int>(out_.max_batch),
                            .chunk = out_.chunk,
                            .cache_tokens = out_.capacity->cache_tokens,
                            .tokens_a_step = 1 + in_.draft_kept};
    DSAPERF_TRY_ASSIGN(inputs.traffic, traffic(stages));
    DSAPERF_TRY_ASSIGN(const auto steps, worker_steps(model));
    DSAPERF_TRY_ASSIGN(auto result, simulate(inputs, steps));
    out_.ttft_ms = result.ttft_ms.mean;
    out_.tpot_ms = result.tpot_ms.mean;
    out_.request_ms = result.request_ms.mean;
    out_.output_tok_s = result.output_tok_s * stages;
    out_.output_tok_s_per_gpu = *out_.output_tok_s / in_.layout.gpus();
    out_.requests_s = result.requests_s * stages;
    if (in_.rate_per_s)
      out_.concurrency = result.requests_s * result.request_ms.mean / 1000 * stages;
    if (result.waiting_share > 0.05)
      warn(fmt::format("{:.0f} % of the requests wait for room in the cache",
                       100 * result.waiting_share));
    out_.simulation = result;
    return {};
  }

  Result<WorkerSteps> worker_steps(const PassModel& model) const {
    if (in_.engine != Engine::kVllm || in_.age != EngineAge::kOlder)
      return WorkerSteps(model, out_.host);
    DSAPERF_TRY_ASSIGN(const auto whole, whole_selections(spec_, model.inputs(), set_.system()));
    return WorkerSteps(model, out_.host, whole);
  }

  // Whether the prompts of the run before are all cached still, where they are taken up again.
  bool remembers(double prompts) const {
    if (out_.prefill_capacity) {  // workers of their own, which hold no answers
      const double ranks = in_.prefill.count * in_.prefill.layout.dp * in_.prefill.layout.pp;
      return prompts / ranks * in_.isl <= out_.prefill_capacity->cache_tokens;
    }
    return out_.capacity &&
           prompts / in_.layout.dp * (in_.isl + in_.osl) <= out_.capacity->cache_tokens;
  }

  // Of one of `sharers` that have as many of the requests each.
  Result<Traffic> traffic(double sharers) {
    take_length_ratio();
    DSAPERF_TRY_ASSIGN(const auto usual, host_costs(in_.engine, {.system = set_.system().name,
                                                                 .experts = out_.formats.moe,
                                                                 .age = in_.age}));
    DSAPERF_TRY_ASSIGN(out_.host, with_changes(usual, in_.host));
    Traffic traffic{.isl = in_.isl,
                    .osl = in_.osl,
                    .cached_share = in_.prefix / in_.isl,
                    .length_ratio = out_.length_ratio,
                    .prompts = static_cast<int>(std::ceil(in_.prompts / sharers)),
                    .host = out_.host,
                    .host_sharers = sharers};
    const double repeated = in_.repeated_prompts.value_or(0) / sharers;
    if (remembers(repeated)) traffic.repeated = static_cast<int>(repeated);
    if (in_.rate_per_s)
      traffic.rate_per_s = *in_.rate_per_s / sharers;
    else
      traffic.concurrency = out_.concurrency / sharers;
    return traffic;
  }

  void take_length_ratio() {
    out_.length_ratio = in_.length_ratio.value_or(kClientLengthRatio);
    if (!in_.length_ratio)
      warn(
          fmt::format("lengths are drawn from {} of isl and osl up to all of it, as load "
                      "generators do; a length ratio of 1 makes them equal",
                      kClientLengthRatio));
  }

  Result<Estimate> disaggregated() {
    const Workers& p = in_.prefill;
    const Workers& d = in_.decode;
    if (p.count < 1 || d.count < 1)
      return fail(Errc::kInvalidArgument, "{} prefill and {} decode workers: counts start at 1",
                  p.count, d.count);
    DSAPERF_TRY(check_layout(spec_, p.layout).map_error(in_words("prefill worker")));
    DSAPERF_TRY(check_layout(spec_, d.layout).map_error(in_words("decode worker")));
    out_.gpus = p.gpus() + d.gpus();
    DSAPERF_TRY_ASSIGN(const auto prefill, passes(p.layout, DeepEp::kPrefill));
    DSAPERF_TRY_ASSIGN(const auto decode, passes(d.layout, DeepEp::kDecode));
    const int prefill_ranks = p.count * p.layout.dp * p.layout.pp;
    const int decode_ranks = d.count * d.layout.dp * d.layout.pp;
    if (in_.method == Method::kCompatible) return disaggregated_compatible(prefill, decode);
    const double card = set_.system().mem_capacity;
    out_.chunk = p.chunk.value_or(in_.chunk.value_or(default_chunk(in_.engine, p.layout, card)));
    const auto held = [&](const PassModel& model, const Workers& workers, double osl,
                          double chunk) {
      return capacity(
          spec_, model.inputs(), set_.system(), set_.version(),
          {.isl = in_.isl, .osl = osl, .chunk = chunk, .draft_tokens = in_.draft_tokens},
          workers.memory_fraction ? workers.memory_fraction : in_.memory_fraction);
    };
    const double most = d.max_batch.value_or(out_.max_batch);
    out_.prefill_capacity = held(prefill, p, 1, out_.chunk);
    out_.capacity = held(decode, d, in_.osl, std::min(most, out_.chunk));
    out_.memory = out_.capacity->use;
    out_.prefill_memory = out_.prefill_capacity->use;
    out_.fits = out_.prefill_capacity->fits && out_.capacity->fits;
    if (!out_.fits) {
      const bool first = !out_.prefill_capacity->fits;
      out_.reason = fmt::format("a {} worker: {}", first ? "prefill" : "decode",
                                first ? out_.prefill_capacity->reason : out_.capacity->reason);
      return std::move(out_);
    }

    tell_of_graphs(*out_.prefill_capacity, " of a prefill worker");
    tell_of_graphs(*out_.capacity, " of a decode worker");
    const double asked = in_.concurrency.value_or(1);
    batch_ = std::max(1.0, std::round(asked / decode_ranks));
    out_.concurrency = asked;
    DSAPERF_TRY(show_passes(prefill, decode));
    const double transfer = transfer_ms(
        set_.system(), out_.prefill_capacity->cache_bytes_per_token * p.layout.pp, out_.gpus);
    out_.transfer_ms = transfer * in_.isl;
    DSAPERF_TRY_ASSIGN(const auto asked_traffic, traffic(1));
    const DisaggregatedInputs inputs{
        .traffic = asked_traffic,
        .prefill = {.ranks = prefill_ranks,
                    .max_batch = static_cast<int>(p.max_batch.value_or(out_.max_batch)),
                    .chunk = out_.chunk},
        .decode = {.ranks = decode_ranks,
                   .max_batch = static_cast<int>(most),
                   .cache_tokens = out_.capacity->cache_tokens},
        .transfer_ms_per_token = transfer,
        .tokens_a_step = 1 + in_.draft_kept};
    DSAPERF_TRY_ASSIGN(const auto prefill_steps, worker_steps(prefill));
    DSAPERF_TRY_ASSIGN(const auto decode_steps, worker_steps(decode));
    DSAPERF_TRY_ASSIGN(auto result, simulate_disaggregated(inputs, prefill_steps, decode_steps));
    const auto& seen = result.requests;
    out_.ttft_ms = seen.ttft_ms.mean;
    out_.tpot_ms = seen.tpot_ms.mean;
    out_.request_ms = seen.request_ms.mean;
    out_.output_tok_s = seen.output_tok_s;
    out_.output_tok_s_per_gpu = seen.output_tok_s / out_.gpus;
    out_.requests_s = seen.requests_s;
    if (in_.rate_per_s) out_.concurrency = seen.requests_s * seen.request_ms.mean / 1000;
    if (seen.waiting_share > 0.05)
      warn(fmt::format("{:.0f} % of the requests wait for room in the decode workers' cache",
                       100 * seen.waiting_share));
    out_.simulation = seen;
    out_.disaggregated = result;
    return std::move(out_);
  }

  // Without a queue there is no more than one prompt a prefill rank, unless it is said.
  Result<Estimate> disaggregated_compatible(const PassModel& prefill, const PassModel& decode) {
    const Workers& p = in_.prefill;
    const Workers& d = in_.decode;
    const auto side = [&](const PassModel& model, const Workers& workers, double batch) {
      FormWorkers form{
          .model = model, .count = workers.count, .batch = batch, .options = options()};
      if (workers.memory_fraction) form.options.memory_fraction = workers.memory_fraction;
      return form;
    };
    const double ranks = d.count * d.layout.dp;
    batch_ = std::max(1.0, std::floor(in_.concurrency.value_or(1) / ranks));
    out_.transfer_ms = transfer_ms(
        set_.system(),
        in_.isl * cache_bytes_per_token(prefill.inputs().shape, out_.formats, in_.quirks),
        out_.gpus);
    DSAPERF_TRY_ASSIGN(auto form, disaggregated_form(side(prefill, p, p.max_batch.value_or(1)),
                                                     side(decode, d, batch_), set_.system(),
                                                     set_.version(), workload(), out_.transfer_ms));
    out_.concurrency = form.all.concurrency;
    out_.memory = form.decode.memory;
    out_.prefill_memory = form.prefill.memory;
    out_.context = form.all.context;
    out_.generation = form.all.generation;
    out_.fits = form.all.fit == Fit::kFits;
    if (out_.fits) {
      take(form.all);
    } else {
      const bool first = form.prefill.fit != Fit::kFits;
      const auto& worker = first ? form.prefill : form.decode;
      out_.reason = fmt::format("a {} worker: {}", first ? "prefill" : "decode",
                                fit_reason(worker.fit, worker.memory, set_.system().mem_capacity));
    }
    out_.closed_form = std::move(form.all);
    return std::move(out_);
  }

  const model::ModelSpec& spec_;
  predict::compatible::OperatorSet& set_;
  const EstimateInputs& in_;
  Estimate out_;
  double batch_ = 1;
};

}  // namespace

Result<Estimate> estimate(const model::ModelSpec& spec, predict::compatible::OperatorSet& operators,
                          const EstimateInputs& inputs) {
  return Estimator(spec, operators, inputs).run();
}

}  // namespace dsaperf::serving
