#include "dsaperf/serving/sweep.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/disaggregated_pairs.hpp"
#include "dsaperf/serving/disaggregated_plan.hpp"
#include "dsaperf/serving/step_times.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <map>
#include <ranges>
#include <thread>

namespace dsaperf::serving {
namespace {

constexpr int kLargestWorker = 16;  // GPUs, where no exchanges between nodes were measured
constexpr std::size_t kRowsATarget = 10;

// Requests of a rank that are tried.
std::vector<double> batches(int most) {
  std::vector<double> list;
  const auto add = [&](int begin, int end, int step) {
    for (int b = begin; b < end; b += step)
      if (b <= most) list.push_back(b);
  };
  add(1, 16, 1);
  add(16, 32, 4);
  add(32, 64, 8);
  add(64, 256, 16);
  add(256, 512, 32);
  add(512, 1024, 256);
  return list;
}

// Chunks that aiconfigurator tries without chunked prefill: multiples of the prompt.
std::vector<double> chunks(double isl) {
  constexpr double kNormal = 8192;
  const double largest = std::max(kNormal, 2 * isl);
  const double stride = std::max(isl, 512.0);
  const double large = std::ceil(std::max({1024.0, 512.0, std::floor(largest / 8)}) / isl) * isl;
  std::vector<double> list;
  double next = stride;
  while (next <= largest) {
    list.push_back(next);
    next += next < kNormal ? stride : large;
  }
  for (const double c : {isl, 2 * isl})
    if (std::find(list.begin(), list.end(), c) == list.end()) list.push_back(c);
  std::sort(list.begin(), list.end());
  return list;
}

// Calls `work` with 0 ... count - 1 on up to `threads` threads (0: as many as there are).
template <typename Work>
void for_each_index(std::size_t count, int threads, const Work& work) {
  const auto most = threads > 0 ? static_cast<std::size_t>(threads)
                                : std::max<std::size_t>(std::thread::hardware_concurrency(), 1);
  std::atomic<std::size_t> next = 0;
  const auto run = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  std::vector<std::jthread> others;
  for (std::size_t i = 1; i < std::min(most, count); ++i) others.emplace_back(run);
  run();
}

// A layout of an engine, its passes and what came of it.
struct Job {
  Engine engine = Engine::kSglang;
  Layout layout;
  std::optional<PassModel> model;
  std::optional<PassModel> prefill_model;  // as a worker for prefill, where that is another
  std::optional<Capacity> capacity;        // method model
  std::vector<Candidate> points;           // that fit
  RoleTimes roles;                         // method model: as a worker of one kind
  PhaseWorkers phases;                     // method compatible: the same
  std::string rejected;
  int priced = 0;
  bool memory_ends = false;  // the list of points
};

class Sweeper {
 public:
  Sweeper(const model::ModelSpec& spec, const SweepInputs& inputs) : spec_(spec), in_(inputs) {
    out_.inputs = inputs;
    out_.model = spec.name;
  }

  Result<SweepResult> run(const std::vector<Engine>& engines, const OpenTables& open) {
    DSAPERF_TRY_ASSIGN(shape_, ModelShape::of(spec_));
    std::vector<std::optional<Result<predict::compatible::OperatorSet>>> sets(engines.size());
    std::vector<std::vector<Job>> jobs(engines.size());
    for_each_index(engines.size(), in_.threads, [&](std::size_t i) {
      sets[i] = open(engines[i]);
      if (*sets[i]) jobs[i] = make_jobs(engines[i], **sets[i]);
    });
    for (std::size_t i = 0; i < engines.size(); ++i) {
      if (*sets[i]) {
        sets_.push_back(&**sets[i]);
        for (Job& job : jobs[i]) jobs_.push_back(std::move(job));
      } else {
        warn(fmt::format("{} is left out: {}", name(engines[i]), sets[i]->error().message()));
      }
    }
    if (sets_.empty()) return fail(Errc::kNotFound, "no backend has tables for this system");
    out_.system = sets_.front()->system().name;
    for (const Engine engine : engines) {
      DSAPERF_TRY_ASSIGN(hosts_[static_cast<std::size_t>(engine)], host_costs(engine, out_.system));
    }
    for_each_index(jobs_.size(), in_.threads, [&](std::size_t i) { price(jobs_[i]); });
    for (const Job& job : jobs_) {
      out_.points += job.priced;
      if (!job.rejected.empty())
        out_.rejected.push_back({job.engine, job.layout.text(), job.rejected});
      else if (in_.aggregated && job.model)
        take(job);
    }
    if (in_.disaggregated)
      for (const auto* set : sets_) compatible() ? add_pairs(*set) : add_disaggregated(*set);
    rank();
    simulate_best();
    return std::move(out_);
  }

 private:
  void warn(std::string text) { out_.warnings.push_back(std::move(text)); }
  bool compatible() const { return in_.method == Method::kCompatible; }

  Formats formats(Engine engine, const perfdb::SystemFile& system) const {
    FormatChoice choice = in_.formats;
    if (choice.kv.empty() && !compatible() && shape_.attention == ModelShape::Attention::kDsa)
      choice.kv = default_kv(engine, system.sm_version, shape_.architecture);
    return formats_of(spec_, choice, compatible() && in_.quirks.has(Quirk::kGlmFp8AttentionAsBf16));
  }

  std::vector<Job> make_jobs(Engine engine, predict::compatible::OperatorSet& set) {
    std::vector<Job> jobs;
    LayoutSearch search{.gpus = in_.gpus, .largest = kLargestWorker};
    Largest largest;
    if (compatible()) {
      search.context_parallel = true;
      search.two_stages = in_.gpus >= 16 && set.system().sm_version >= 100;
      largest = largest_workers(engine, set);
      between_nodes_[static_cast<std::size_t>(engine)] = largest.between_nodes;
      largest_prefill_[static_cast<std::size_t>(engine)] = largest.prefill;
      search.largest = std::max(largest.prefill, largest.decode);
    }
    for (const Layout& layout : layouts(engine, shape_, search)) {
      Job job;
      job.engine = engine;
      job.layout = layout;
      if (layout.gpus() <= largest.decode) {
        if (auto model = passes(engine, layout, set, DeepEp::kBoth))
          job.model = *std::move(model);
        else
          job.rejected = model.error().message();
      }
      add_prefill_model(job, set, largest.prefill);
      jobs.push_back(std::move(job));
    }
    return jobs;
  }

  // GPUs of a worker, at most. The aggregated are as the decode workers: those need exchanges of
  // both phases too, since the package counts their weights in the operators of prefill.
  struct Largest {
    int prefill = kLargestWorker, decode = kLargestWorker;
    bool between_nodes = false;  // whether experts may be over several
  };
  Largest largest_workers(Engine engine, predict::compatible::OperatorSet& set) const {
    const int two_nodes = 2 * set.system().gpus_per_node;
    const auto spans = [&](int ranks, DeepEp exchanges) {
      const auto model = passes(engine, {.dp = ranks, .moe_ep = ranks}, set, exchanges);
      return model && model->inputs().exchanges();
    };
    Largest largest;
    const auto widen = [&](int& gpus, int most, DeepEp exchanges) {
      if (!spans(two_nodes, exchanges)) return;
      largest.between_nodes = true;
      // vLLM's list ends where its rows of experts do.
      if (engine != Engine::kVllm)
        gpus = most;
      else
        for (int ranks = two_nodes; ranks <= in_.gpus && spans(ranks, exchanges); ranks *= 2)
          gpus = std::max(gpus, ranks);
    };
    widen(largest.prefill, 32, DeepEp::kPrefill);
    widen(largest.decode, 64, DeepEp::kBoth);
    return largest;
  }

  void add_prefill_model(Job& job, predict::compatible::OperatorSet& set, int largest) const {
    if (!compatible() || !in_.disaggregated || job.layout.gpus() > largest) return;
    if (job.model && job.model->inputs().exchanges()) return;
    auto model = passes(job.engine, job.layout, set, DeepEp::kPrefill);
    if (model && model->inputs().exchanges()) job.prefill_model = *std::move(model);
  }

  // Where DeepEP's exchanges were measured for a layout, aiconfigurator's sweep takes them.
  Result<PassModel> passes(Engine engine, const Layout& layout,
                           predict::compatible::OperatorSet& set, DeepEp exchanges) const {
    DSAPERF_TRY(check_layout(spec_, layout));
    PassModel::Inputs inputs{.shape = shape_,
                             .layout = layout,
                             .formats = formats(engine, set.system()),
                             .engine = engine,
                             .quirks = compatible() ? in_.quirks : Quirks::none()};
    if (compatible() && PassModel::may_exchange(inputs)) {
      inputs.deepep = exchanges;
      if (auto model = PassModel::make(inputs, set)) return model;
      inputs.deepep = DeepEp::kNone;
    }
    return PassModel::make(inputs, set);
  }

  const predict::compatible::OperatorSet& set_of(Engine engine) const {
    const auto own = std::find_if(sets_.begin(), sets_.end(),
                                  [&](const auto* set) { return set->backend() == name(engine); });
    return own != sets_.end() ? **own : *sets_.front();  // of no engine: the shipped tables
  }

  void price(Job& job) const {
    if (compatible() && in_.disaggregated) price_phases(job);
    if (!in_.aggregated && compatible()) return;
    if (!job.model) return;
    const auto done = price_points(job);
    if (!done) job.rejected = done.error().message();
  }

  void price_phases(Job& job) const {
    const PassModel* model = job.model ? &*job.model : nullptr;
    const bool fits_prefill =
        job.layout.gpus() <= largest_prefill_[static_cast<std::size_t>(job.engine)];
    job.phases.prefill_model = job.prefill_model ? &*job.prefill_model
                               : fits_prefill    ? model
                                                 : nullptr;
    job.phases.decode_model = job.layout.cp == 1 ? model : nullptr;
    if (job.phases.prefill_model == nullptr && job.phases.decode_model == nullptr) return;
    const auto done = price_workers(job.phases, set_of(job.engine), in_);
    if (in_.aggregated) return;
    job.rejected = done ? "" : done.error().message();
  }

  static double chunk_of(Engine engine, const Layout& layout) {
    return engine == Engine::kSglang ? std::max(std::floor(8192.0 / layout.dp), 1.0) : 8192;
  }

  // All operating points of a layout that fit.
  Result<void> price_points(Job& job) const {
    const Engine engine = job.engine;
    const Layout& layout = job.layout;
    const PassModel& model = *job.model;
    const auto& set = set_of(engine);
    const Workload work{.isl = in_.isl, .osl = in_.osl, .prefix = in_.prefix};
    double room = std::numeric_limits<double>::infinity();  // requests the cache holds
    std::vector<double> chunk_list = chunks(in_.isl);
    if (!compatible()) {
      chunk_list = {chunk_of(engine, layout)};
      job.capacity = capacity(
          spec_, model.inputs(), set.system(), set.version(),
          {.isl = in_.isl, .osl = in_.osl, .chunk = chunk_list.front(), .draft_tokens = 0}, {});
      if (!job.capacity->fits) return fail(Errc::kOutOfMemory, "{}", job.capacity->reason);
      room = job.capacity->cache_requests;
      DSAPERF_TRY(price_roles(job));
    }
    std::vector<double> seen_decode_requests;
    for (const double batch : batches(in_.most_requests)) {
      for (const double chunk : chunk_list) {
        const double prompts = std::ceil(chunk / in_.isl);
        if (compatible() && (batch < prompts || (batch > 1 && batch - prompts < 1))) break;
        if (compatible() && repeats(batch, chunk, seen_decode_requests)) continue;
        DSAPERF_TRY_ASSIGN(auto form,
                           in_flight(model, set.system(), set.version(), work, batch, chunk));
        ++job.priced;
        if (compatible() ? form.fit != Fit::kFits : batch > room) {
          job.memory_ends = true;
          break;
        }
        if (!compatible()) add_host(engine, model, work, form);
        job.points.push_back({.engine = engine,
                              .version = set.version(),
                              .layout = layout,
                              .formats = model.inputs().formats,
                              .batch = batch,
                              .chunk = chunk,
                              .workers = in_.gpus / layout.gpus(),
                              .form = std::move(form),
                              .meets_limits = false,
                              .binds = {},
                              .prefill = {},
                              .simulation = {}});
      }
      if (job.memory_ends && !compatible()) break;
    }
    if (job.points.empty())
      return fail(Errc::kOutOfMemory,
                  "a worker of {} GPUs does not hold one request of {:.0f} + {:.0f} tokens",
                  layout.gpus(), in_.isl, in_.osl);
    for (Candidate& point : job.points)
      point.meets_limits =
          point.form.ttft_ms <= in_.ttft_limit_ms && point.form.tpot_ms <= in_.tpot_limit_ms;
    return {};
  }

  Result<void> price_roles(Job& job) const {
    const PassModel& model = *job.model;
    const HostCosts& host = host_of(job.engine);
    job.roles.layout = job.layout;
    DSAPERF_TRY_ASSIGN(const auto prefill, model.context(1, in_.isl - in_.prefix, in_.prefix));
    job.roles.prefill_ms = PrefillLaunches(model, host)
                               .step_ms(prefill.attention_ms, prefill.ms - prefill.attention_ms);
    for (const double batch : batches(in_.most_requests)) {
      if (batch > job.capacity->cache_requests) break;
      DSAPERF_TRY_ASSIGN(const auto step,
                         model.generation(batch, in_.isl + std::floor(in_.osl / 2) + 1));
      job.roles.decode.push_back(
          {.batch = batch, .step_ms = step.ms + host.graph_gap_us / 1000 * shape_.layers});
    }
    return {};
  }

  void add_disaggregated(const predict::compatible::OperatorSet& set) {
    std::vector<RoleTimes> roles;
    std::vector<const Job*> of;
    for (const Job& job : jobs_) {
      if (&set_of(job.engine) != &set || !job.rejected.empty()) continue;
      roles.push_back(job.roles);
      of.push_back(&job);
    }
    if (roles.empty()) return;
    const Engine engine = of.front()->engine;
    const double prompt_bytes =
        of.front()->capacity->cache_bytes_per_token * of.front()->layout.pp * in_.isl;
    const auto plans =
        best_plans(roles, {.gpus = in_.gpus,
                           .osl = in_.osl,
                           .delay_ms = host_delay_ms(host_of(engine), in_.isl),
                           .transfer_inside_ms = transfer_ms(set.system(), prompt_bytes, 1),
                           .transfer_outside_ms = transfer_ms(set.system(), prompt_bytes,
                                                              set.system().gpus_per_node + 1),
                           .gpus_per_node = set.system().gpus_per_node,
                           .ttft_ms = in_.ttft_limit_ms,
                           .tpot_ms = in_.tpot_limit_ms});
    if (plans.empty()) {
      const auto smallest = std::min_element(of.begin(), of.end(), [](const Job* a, const Job* b) {
        return a->layout.gpus() < b->layout.gpus();
      });
      const int least = (*smallest)->layout.gpus();
      out_.rejected.push_back(
          {engine, "disaggregated",
           2 * least > in_.gpus
               ? fmt::format("a prefill and a decode worker take {} GPUs each, and there are {}",
                             least, in_.gpus)
               : "no pair of prefill and decode workers meets the limits"});
      return;
    }
    for (const auto& plan : plans) {
      const Job& prefill = *of[plan.prefill];
      const Job& decode = *of[plan.decode];
      Candidate candidate{
          .engine = engine,
          .version = set.version(),
          .layout = decode.layout,
          .formats = decode.model->inputs().formats,
          .batch = plan.batch,
          .chunk = chunk_of(engine, prefill.layout),
          .workers = in_.gpus / plan.gpus,
          .form = {},
          .meets_limits = true,
          .binds = binding(plan, roles[plan.decode]),
          .prefill =
              PrefillSide{.layout = prefill.layout,
                          .attention_rows = std::string(prefill.model->inputs().attention_rows()),
                          .workers = plan.prefill_workers,
                          .decode_workers = plan.decode_workers,
                          .busy = plan.prefill_busy,
                          .requests_s = prefill.roles.prefill_requests_s(),
                          .decode_requests_s = plan.requests_s / plan.decode_workers,
                          .memory = prefill.capacity->use},
          .simulation = {}};
      auto& form = candidate.form;
      form.ttft_ms = plan.ttft_ms;
      form.tpot_ms = plan.tpot_ms;
      form.request_ms = plan.ttft_ms + plan.tpot_ms * std::max(in_.osl - 1, 0.0);
      form.request_s = plan.requests_s;
      form.output_tok_s = plan.requests_s * in_.osl;
      form.concurrency = plan.batch * decode.roles.ranks() * plan.decode_workers;
      form.memory = decode.capacity->use;
      all_.push_back(candidate);
      out_.candidates.push_back(std::move(candidate));
    }
  }

  void add_pairs(const predict::compatible::OperatorSet& set) {
    std::vector<PhaseWorkers> workers;
    Engine engine = Engine::kSglang;
    for (const Job& job : jobs_) {
      if (&set_of(job.engine) != &set) continue;
      if (job.phases.prefill.empty() && job.phases.decode.empty()) continue;
      engine = job.engine;
      workers.push_back(job.phases);
    }
    std::map<std::string, Candidate> best;  // of a decode layout, within the limits
    const bool between_nodes = between_nodes_[static_cast<std::size_t>(engine)];
    for (Candidate& pair : paired_workers(workers, set, in_, between_nodes)) {
      if (pair.meets_limits) {
        const auto [known, fresh] = best.emplace(pair.layout.text(), pair);
        if (!fresh &&
            pair.tok_s_per_cluster_gpu(in_.gpus) > known->second.tok_s_per_cluster_gpu(in_.gpus))
          known->second = pair;
      }
      all_.push_back(std::move(pair));
    }
    if (best.empty() && !workers.empty())
      out_.rejected.push_back(
          {engine, "disaggregated", "no pair of prefill and decode workers meets the limits"});
    for (auto& [layout, candidate] : best) out_.candidates.push_back(std::move(candidate));
  }

  std::string binding(const DisaggregatedPlan& plan, const RoleTimes& decode) const {
    const auto next =
        std::find_if(decode.decode.begin(), decode.decode.end(),
                     [&](const RoleTimes::Decode& point) { return point.batch > plan.batch; });
    if (next == decode.decode.end()) return "memory";
    if (next->step_ms > in_.tpot_limit_ms) return "tpot";
    return "prefill";
  }

  void rank() {
    std::stable_sort(out_.candidates.begin(), out_.candidates.end(),
                     [&](const Candidate& a, const Candidate& b) {
                       if (a.meets_limits != b.meets_limits) return a.meets_limits;
                       return a.tok_s_per_cluster_gpu(in_.gpus) > b.tok_s_per_cluster_gpu(in_.gpus);
                     });
    out_.pareto = front(all_);
    const auto middle = std::stable_partition(all_.begin(), all_.end(),
                                              [](const Candidate& c) { return !c.prefill; });
    out_.aggregated_pareto = front({all_.begin(), middle});
    out_.disaggregated_pareto = front({middle, all_.end()});
  }

  // The closed form ranks; what it puts first is simulated.
  void simulate_best() {
    if (compatible()) return;
    const auto count = std::min<std::size_t>(out_.candidates.size(),
                                             static_cast<std::size_t>(std::max(in_.simulate, 0)));
    for_each_index(count, in_.threads, [&](std::size_t i) { simulate_one(out_.candidates[i]); });
  }

  const Job& job_of(Engine engine, const Layout& layout) const {
    return *std::find_if(jobs_.begin(), jobs_.end(), [&](const Job& job) {
      return job.engine == engine && job.layout.text() == layout.text();
    });
  }

  const HostCosts& host_of(Engine engine) const { return hosts_[static_cast<std::size_t>(engine)]; }

  Traffic traffic(const HostCosts& host, double concurrency) const {
    return {.isl = in_.isl,
            .osl = in_.osl,
            .cached_share = in_.prefix / in_.isl,
            .length_ratio = kClientLengthRatio,
            .concurrency = concurrency,
            .prompts = static_cast<int>(4 * concurrency),
            .host = host};
  }

  void simulate_one(Candidate& candidate) const {
    const Job& job = job_of(candidate.engine, candidate.layout);
    const HostCosts& host = host_of(candidate.engine);
    const WorkerSteps steps(*job.model, host);
    if (candidate.prefill) {
      const auto& side = *candidate.prefill;
      const Job& first = job_of(candidate.engine, side.layout);
      const auto result = simulate_disaggregated(
          {.traffic = traffic(host, candidate.form.concurrency),
           .prefill = {.ranks = static_cast<int>(side.workers * first.roles.ranks()),
                       .max_batch = in_.most_requests,
                       .chunk = candidate.chunk},
           .decode = {.ranks = static_cast<int>(side.decode_workers * job.roles.ranks()),
                      .max_batch = static_cast<int>(candidate.batch),
                      .cache_tokens = job.capacity->cache_tokens},
           .transfer_ms_per_token =
               transfer_ms(set_of(candidate.engine).system(),
                           job.capacity->cache_bytes_per_token * job.layout.pp, candidate.gpus())},
          WorkerSteps(*first.model, host), steps);
      if (result) candidate.simulation = result->requests;
      return;
    }
    auto one_of_copies = traffic(host, candidate.batch);
    one_of_copies.host_sharers = candidate.layout.dp * candidate.layout.pp;
    const auto result = simulate({.engine = candidate.engine,
                                  .traffic = one_of_copies,
                                  .max_batch = static_cast<int>(candidate.batch),
                                  .chunk = candidate.chunk,
                                  .cache_tokens = job.capacity->cache_tokens},
                                 steps);
    if (result) candidate.simulation = *result;
  }

  // aiconfigurator prices points whose steps would hold as many decode requests as one before only
  // once.
  bool repeats(double batch, double chunk, std::vector<double>& seen) const {
    const double balance = in_.isl * batch / chunk / in_.osl;
    if (balance <= 1) return false;
    const double decoding = std::floor(batch / balance);
    if (decoding > 1 && std::find(seen.begin(), seen.end(), decoding) != seen.end()) return true;
    seen.push_back(decoding);
    return false;
  }

  // The closed form of the kernels, with the host's part (a simulation of each point would take
  // seconds).
  void add_host(Engine engine, const PassModel& model, const Workload& work,
                ClosedForm& form) const {
    const HostCosts& host = host_of(engine);
    const double decode = host.graph_gap_us / 1000 * model.inputs().shape.layers;
    const double prefill =
        PrefillLaunches(model, host)
            .step_ms(form.context.attention_ms, form.context.ms - form.context.attention_ms) -
        form.context.ms;
    const double steps = form.mixed_steps + form.decode_steps;
    if (steps <= 0) return;
    const double before =
        form.mixed_steps * form.context.ms + form.decode_steps * form.generation.ms;
    const double after = before + form.mixed_steps * prefill + form.decode_steps * decode;
    form.ttft_ms += prefill + host_delay_ms(host, work.isl);
    form.tpot_ms *= before > 0 ? after / before : 1;
    form.request_ms = form.ttft_ms + form.tpot_ms * std::max(work.osl - 1, 0.0);
    form.output_tok_s *= before / after;
    form.request_s *= before / after;
  }

  void take(const Job& job) {
    const auto& points = job.points;
    const auto better = [&](const Candidate& a, const Candidate& b) {
      if (a.meets_limits != b.meets_limits) return b.meets_limits;
      return a.tok_s_per_gpu() < b.tok_s_per_gpu();
    };
    Candidate best = *std::max_element(points.begin(), points.end(), better);
    if (best.meets_limits) {
      best.binds = binding(best, job);
      out_.candidates.push_back(best);
    } else {
      const auto least = *std::min_element(
          points.begin(), points.end(),
          [](const auto& a, const auto& b) { return a.form.tpot_ms < b.form.tpot_ms; });
      out_.rejected.push_back(
          {job.engine, job.layout.text(),
           fmt::format(
               "at best {:.0f} ms to the first token and {:.1f} ms a token, beyond the limits",
               least.form.ttft_ms, least.form.tpot_ms)});
    }
    keep_for_front(points);
  }

  std::string binding(const Candidate& best, const Job& job) const {
    for (const Candidate& point : job.points) {
      if (point.batch <= best.batch || point.chunk != best.chunk) continue;
      if (point.form.tpot_ms > in_.tpot_limit_ms) return "tpot";
      if (point.form.ttft_ms > in_.ttft_limit_ms) return "ttft";
      return "throughput";  // more requests would not bring more
    }
    return job.memory_ends ? "memory" : "batch";
  }

  void keep_for_front(const std::vector<Candidate>& points) {
    if (!compatible()) {
      for (const Candidate& point : points)
        if (point.form.ttft_ms <= in_.ttft_limit_ms) all_.push_back(point);
      return;
    }
    std::vector<bool> kept(points.size(), false);
    for (const double target : tpot_targets()) {
      std::vector<std::size_t> rows;
      for (std::size_t i = 0; i < points.size(); ++i)
        if (points[i].form.tpot_ms <= target && points[i].form.ttft_ms <= in_.ttft_limit_ms)
          rows.push_back(i);
      std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
        return three_decimals(points[a].form.request_s) > three_decimals(points[b].form.request_s);
      });
      if (rows.size() > kRowsATarget) rows.resize(kRowsATarget);
      for (const std::size_t row : rows) kept[row] = true;
    }
    for (std::size_t i = 0; i < points.size(); ++i)
      if (kept[i]) all_.push_back(points[i]);
  }

  // Points that no other beats in both.
  std::vector<Candidate> front(std::vector<Candidate> points) const {
    const auto user = [](const Candidate& c) { return three_decimals(c.tok_s_per_user()); };
    // A rate is rounded, its share of the cluster is not: so aiconfigurator's front has it.
    const auto gpu = [&](const Candidate& c) {
      return three_decimals(c.tok_s_per_gpu()) * c.share_of(in_.gpus);
    };
    std::stable_sort(points.begin(), points.end(), [&](const Candidate& a, const Candidate& b) {
      return user(a) != user(b) ? user(a) < user(b) : gpu(a) < gpu(b);
    });
    std::vector<Candidate> front;
    double best = -1;
    for (const Candidate& candidate : std::ranges::reverse_view(points)) {
      if (gpu(candidate) <= best) continue;
      best = gpu(candidate);
      front.push_back(candidate);
    }
    std::reverse(front.begin(), front.end());
    return front;
  }

  const model::ModelSpec& spec_;
  const SweepInputs& in_;
  ModelShape shape_;
  std::vector<const predict::compatible::OperatorSet*> sets_;  // of the run
  std::array<HostCosts, 3> hosts_;                             // by engine
  std::array<bool, 3> between_nodes_ = {};                     // by engine, see paired_workers
  std::array<int, 3> largest_prefill_ = {};                    // by engine, GPUs
  std::vector<Job> jobs_;
  std::vector<Candidate> all_;
  SweepResult out_;
};

}  // namespace

std::vector<Layout> layouts(Engine engine, const ModelShape& shape, const LayoutSearch& search) {
  std::vector<Layout> list;
  const bool may_split = search.context_parallel && engine == Engine::kSglang &&
                         (shape.architecture == "GlmMoeDsaForCausalLM" ||
                          shape.attention == ModelShape::Attention::kMla);
  const auto add = [&](const Layout& l) {
    if (l.gpus() > std::min(search.gpus, search.largest)) return;
    if (l.tp * l.dp * l.cp != l.moe_tp * l.moe_ep) return;
    if (engine == Engine::kTrtllm && l.dp > 1 && l.tp > 1) return;
    if (engine == Engine::kVllm && l.moe_tp > 1 && l.moe_ep > 1) return;
    if (l.cp > 1 && (!may_split || l.tp > 1 || l.dp > 1)) return;
    list.push_back(l);
  };
  constexpr int kLargestTp = 16, kLargestCp = 8;
  for (int tp = 1; tp <= kLargestTp; tp *= 2)
    for (int pp = 1; pp <= (search.two_stages ? 2 : 1); pp *= 2)
      for (int dp = 1; dp <= search.largest; dp *= 2)
        for (int moe_tp = 1; moe_tp <= kLargestTp; moe_tp *= 2)
          for (int moe_ep = 1; moe_ep <= search.largest; moe_ep *= 2)
            for (int cp = 1; cp <= kLargestCp; cp *= 2)
              add({.tp = tp, .pp = pp, .dp = dp, .moe_tp = moe_tp, .moe_ep = moe_ep, .cp = cp});
  return list;
}

Result<SweepResult> sweep(const model::ModelSpec& spec, const std::vector<Engine>& engines,
                          const OpenTables& open, const SweepInputs& inputs) {
  return Sweeper(spec, inputs).run(engines, open);
}

}  // namespace dsaperf::serving
