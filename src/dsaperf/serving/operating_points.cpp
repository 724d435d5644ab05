#include "dsaperf/serving/operating_points.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/step_times.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace dsaperf::serving {
namespace {

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

// Points of one layout, smallest batch first, until memory ends.
class PointPricing {
 public:
  PointPricing(SweptLayout& swept, const SweepTask& task)
      : swept_(swept),
        engine_(*swept.engine),
        model_(*swept.model),
        task_(task),
        in_(task.in),
        chunks_(task.compatible() ? chunks(task.in.isl)
                                  : std::vector<double>{prefill_chunk(swept)}) {}

  Result<void> run() {
    if (!task_.compatible()) {
      DSAPERF_TRY(find_room());
      DSAPERF_TRY(price_roles());
    }
    for (const double batch : batches(in_.most_requests)) {
      DSAPERF_TRY(price_batch(batch));
      if (swept_.memory_ends && !task_.compatible()) break;
    }
    if (swept_.points.empty())
      return fail(Errc::kOutOfMemory,
                  "a worker of {} GPUs does not hold one request of {:.0f} + {:.0f} tokens",
                  swept_.layout.gpus(), in_.isl, in_.osl);
    for (Candidate& point : swept_.points)
      point.meets_limits =
          point.form.ttft_ms <= in_.ttft_limit_ms && point.form.tpot_ms <= in_.tpot_limit_ms;
    return {};
  }

 private:
  Result<void> find_room() {
    const auto& set = engine_.set;
    swept_.capacity =
        capacity(task_.spec, model_.inputs(), set.system(), set.version(),
                 {.isl = in_.isl, .osl = in_.osl, .chunk = chunks_.front(), .draft_tokens = 0}, {});
    if (!swept_.capacity->fits) return fail(Errc::kOutOfMemory, "{}", swept_.capacity->reason);
    room_ = swept_.capacity->cache_requests;
    told_ = swept_.capacity->largest_graph;
    return {};
  }

  // As a worker for prefill alone and for decode alone.
  Result<void> price_roles() {
    auto& roles = swept_.roles;
    roles.layout = swept_.layout;
    DSAPERF_TRY_ASSIGN(const auto prefill, model_.context(1, in_.isl - in_.prefix, in_.prefix));
    roles.prefill_ms = PrefillLaunches(model_, engine_.host)
                           .step_ms(prefill.attention_ms, prefill.ms - prefill.attention_ms);
    for (const double batch : batches(in_.most_requests)) {
      if (batch > room_) break;
      DSAPERF_TRY_ASSIGN(const auto step,
                         model_.generation(batch, in_.isl + std::floor(in_.osl / 2) + 1));
      roles.decode.push_back({.batch = batch, .step_ms = step.ms + decode_gaps_ms()});
    }
    return {};
  }

  Result<void> price_batch(double batch) {
    const auto& set = engine_.set;
    for (const double chunk : chunks_) {
      if (task_.compatible()) {
        const double prompts = std::ceil(chunk / in_.isl);
        if (batch < prompts || (batch > 1 && batch - prompts < 1)) break;
        if (is_repeated(batch, chunk)) continue;
      }
      DSAPERF_TRY_ASSIGN(auto form,
                         in_flight(model_, set.system(), set.version(), work(), batch, chunk));
      ++swept_.priced;
      if (task_.compatible() ? form.fit != Fit::kFits : batch > room_) {
        swept_.memory_ends = true;
        break;
      }
      if (!task_.compatible()) add_host(form);
      swept_.points.push_back({.engine = engine_.engine,
                               .version = set.version(),
                               .layout = swept_.layout,
                               .formats = model_.inputs().formats,
                               .batch = batch,
                               .chunk = chunk,
                               .largest_graph = told_,
                               .workers = in_.gpus / swept_.layout.gpus(),
                               .form = std::move(form),
                               .meets_limits = false,
                               .binds = {},
                               .prefill = {},
                               .simulation = {}});
    }
    return {};
  }

  // aiconfigurator prices points whose steps would hold as many decode requests as one before only
  // once.
  bool is_repeated(double batch, double chunk) {
    const double balance = in_.isl * batch / chunk / in_.osl;
    if (balance <= 1) return false;
    const double decoding = std::floor(batch / balance);
    const bool is_seen = std::ranges::find(seen_decoding_, decoding) != seen_decoding_.end();
    if (decoding > 1 && is_seen) return true;
    seen_decoding_.push_back(decoding);
    return false;
  }

  // The closed form of the kernels, with the host's part (a simulation of each point would take
  // seconds).
  void add_host(ClosedForm& form) const {
    const double decode = decode_gaps_ms();
    const double prefill =
        PrefillLaunches(model_, engine_.host)
            .step_ms(form.context.attention_ms, form.context.ms - form.context.attention_ms) -
        form.context.ms;
    const double steps = form.mixed_steps + form.decode_steps;
    if (steps <= 0) return;
    const double before =
        form.mixed_steps * form.context.ms + form.decode_steps * form.generation.ms;
    const double after = before + form.mixed_steps * prefill + form.decode_steps * decode;
    form.ttft_ms += prefill + host_delay_ms(engine_.host, in_.isl);
    form.tpot_ms *= before > 0 ? after / before : 1;
    form.request_ms = form.ttft_ms + form.tpot_ms * std::max(in_.osl - 1, 0.0);
    form.output_tok_s *= before / after;
    form.request_s *= before / after;
  }

  double decode_gaps_ms() const { return engine_.host.graph_gap_us / 1000 * task_.shape.layers; }
  Workload work() const { return {.isl = in_.isl, .osl = in_.osl, .prefix = in_.prefix}; }

  SweptLayout& swept_;
  const SweptEngine& engine_;
  const PassModel& model_;
  const SweepTask& task_;
  const SweepInputs& in_;
  std::vector<double> chunks_;
  double room_ = std::numeric_limits<double>::infinity();  // requests the cache holds
  std::optional<double> told_;                             // the largest graph
  std::vector<double> seen_decoding_;
};

void price_phases(SweptLayout& swept, const SweepTask& task) {
  const PassModel* model = swept.model ? &*swept.model : nullptr;
  auto& phases = swept.phases;
  phases.decode_model = swept.layout.cp == 1 ? model : nullptr;
  if (swept.prefill_model)
    phases.prefill_model = &*swept.prefill_model;
  else if (swept.layout.gpus() <= swept.engine->largest_prefill)
    phases.prefill_model = model;
  if (phases.prefill_model == nullptr && phases.decode_model == nullptr) return;
  const auto done = price_workers(phases, swept.engine->set, task.in);
  if (task.in.aggregated) return;
  swept.rejected = done ? "" : done.error().message();
}

}  // namespace

void price(SweptLayout& layout, const SweepTask& task) {
  if (task.compatible() && task.in.disaggregated) price_phases(layout, task);
  if (!task.in.aggregated && task.compatible()) return;
  if (!layout.model) return;
  const auto done = PointPricing(layout, task).run();
  if (!done) layout.rejected = done.error().message();
}

}  // namespace dsaperf::serving
