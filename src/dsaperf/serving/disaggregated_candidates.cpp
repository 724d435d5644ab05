#include "dsaperf/serving/disaggregated_candidates.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <map>
#include <utility>

namespace dsaperf::serving {
namespace {

constexpr const char* kBeyondLimits = "no pair of prefill and decode workers meets the limits";

PlanLimits limits(const SweptLayout& any, const SweptEngine& engine, const SweepTask& task) {
  const auto& system = engine.set.system();
  const double prompt_bytes = any.capacity->cache_bytes_per_token * any.layout.pp * task.in.isl;
  return {.gpus = task.in.gpus,
          .osl = task.in.osl,
          .delay_ms = host_delay_ms(engine.host, task.in.isl),
          .transfer_inside_ms = transfer_ms(system, prompt_bytes, 1),
          .transfer_outside_ms = transfer_ms(system, prompt_bytes, system.gpus_per_node + 1),
          .gpus_per_node = system.gpus_per_node,
          .ttft_ms = task.in.ttft_limit_ms,
          .tpot_ms = task.in.tpot_limit_ms};
}

std::string why_no_plan(std::span<const SweptLayout* const> layouts, int gpus) {
  const auto* smallest = std::ranges::min(
      layouts, {}, [](const SweptLayout* layout) { return layout->layout.gpus(); });
  const int least = smallest->layout.gpus();
  if (2 * least <= gpus) return kBeyondLimits;
  return fmt::format("a prefill and a decode worker take {} GPUs each, and there are {}", least,
                     gpus);
}

std::string binding(const DisaggregatedPlan& plan, const RoleTimes& decode, double tpot_limit_ms) {
  const auto next =
      std::find_if(decode.decode.begin(), decode.decode.end(),
                   [&](const RoleTimes::Decode& point) { return point.batch > plan.batch; });
  if (next == decode.decode.end()) return "memory";
  return next->step_ms > tpot_limit_ms ? "tpot" : "prefill";
}

Candidate candidate_of(const DisaggregatedPlan& plan, const SweptLayout& prefill,
                       const SweptLayout& decode, const SweepTask& task) {
  const SweepInputs& in = task.in;
  Candidate candidate{
      .engine = decode.engine->engine,
      .version = decode.engine->set.version(),
      .layout = decode.layout,
      .formats = decode.model->inputs().formats,
      .batch = plan.batch,
      .chunk = prefill_chunk(prefill),
      .largest_graph = decode.capacity->largest_graph,
      .workers = in.gpus / plan.gpus,
      .form = {},
      .meets_limits = true,
      .binds = binding(plan, decode.roles, in.tpot_limit_ms),
      .prefill =
          PrefillSide{.layout = prefill.layout,
                      .attention_rows = std::string(prefill.model->inputs().attention_rows()),
                      .workers = plan.prefill_workers,
                      .decode_workers = plan.decode_workers,
                      .busy = plan.prefill_busy,
                      .requests_s = prefill.roles.prefill_requests_s(),
                      .decode_requests_s = plan.requests_s / plan.decode_workers,
                      .memory = prefill.capacity->use,
                      .largest_graph = prefill.capacity->largest_graph},
      .simulation = {}};
  auto& form = candidate.form;
  form.ttft_ms = plan.ttft_ms;
  form.tpot_ms = plan.tpot_ms;
  form.request_ms = plan.ttft_ms + plan.tpot_ms * std::max(in.osl - 1, 0.0);
  form.request_s = plan.requests_s;
  form.output_tok_s = plan.requests_s * in.osl;
  form.concurrency = plan.batch * decode.roles.ranks() * plan.decode_workers;
  form.memory = decode.capacity->use;
  return candidate;
}

}  // namespace

DisaggregatedCandidates planned_candidates(std::span<const SweptLayout> layouts,
                                           const SweptEngine& engine, const SweepTask& task) {
  std::vector<RoleTimes> roles;
  std::vector<const SweptLayout*> of;
  for (const SweptLayout& layout : layouts) {
    if (!layout.rejected.empty()) continue;
    roles.push_back(layout.roles);
    of.push_back(&layout);
  }
  DisaggregatedCandidates found;
  if (roles.empty()) return found;
  const auto plans = best_plans(roles, limits(*of.front(), engine, task));
  if (plans.empty()) found.rejected = why_no_plan(of, task.in.gpus);
  for (const auto& plan : plans)
    found.all.push_back(candidate_of(plan, *of[plan.prefill], *of[plan.decode], task));
  found.best = found.all;
  return found;
}

DisaggregatedCandidates paired_candidates(std::span<const SweptLayout> layouts,
                                          const SweptEngine& engine, const SweepTask& task) {
  std::vector<PhaseWorkers> workers;
  for (const SweptLayout& layout : layouts)
    if (!layout.phases.prefill.empty() || !layout.phases.decode.empty())
      workers.push_back(layout.phases);
  DisaggregatedCandidates found;
  found.all = paired_workers(workers, engine.set, task.in, engine.between_nodes);
  const auto rate = [&](const Candidate& c) { return c.tok_s_per_cluster_gpu(task.in.gpus); };
  std::map<std::string, const Candidate*> best;  // of a decode layout, within the limits
  for (const Candidate& pair : found.all) {
    if (!pair.meets_limits) continue;
    auto& known = best[pair.layout.text()];
    if (known == nullptr || rate(pair) > rate(*known)) known = &pair;
  }
  if (best.empty() && !workers.empty()) found.rejected = kBeyondLimits;
  for (const auto& [layout, candidate] : best) found.best.push_back(*candidate);
  return found;
}

}  // namespace dsaperf::serving
