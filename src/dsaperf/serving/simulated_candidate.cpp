#include "dsaperf/serving/simulated_candidate.hpp"

#include "dsaperf/serving/step_times.hpp"

namespace dsaperf::serving {
namespace {

Traffic traffic(const SweepInputs& in, const HostCosts& host, double concurrency) {
  return {.isl = in.isl,
          .osl = in.osl,
          .cached_share = in.prefix / in.isl,
          .length_ratio = kClientLengthRatio,
          .concurrency = concurrency,
          .prompts = static_cast<int>(4 * concurrency),
          .host = host};
}

// One stage's share of a pipeline's requests, on all copies of the attention.
std::optional<SimulationResult> simulated_together(const Candidate& candidate,
                                                   const SweepTask& task,
                                                   const SweptLayout& layout) {
  const HostCosts& host = layout.engine->host;
  auto of_a_stage = traffic(task.in, host, candidate.batch * candidate.layout.dp);
  of_a_stage.host_sharers = candidate.layout.pp;
  const auto result = simulate({.engine = candidate.engine,
                                .traffic = of_a_stage,
                                .ranks = candidate.layout.dp,
                                .max_batch = static_cast<int>(candidate.batch),
                                .chunk = candidate.chunk,
                                .cache_tokens = layout.capacity->cache_tokens},
                               WorkerSteps(*layout.model, host));
  if (!result) return std::nullopt;
  return *result;
}

std::optional<SimulationResult> simulated_apart(const Candidate& candidate, const SweepTask& task,
                                                const SweptLayout& decode,
                                                const SweptLayout& prefill) {
  const HostCosts& host = decode.engine->host;
  const auto& side = *candidate.prefill;
  const double bytes_per_token = decode.capacity->cache_bytes_per_token * decode.layout.pp;
  const auto result = simulate_disaggregated(
      {.traffic = traffic(task.in, host, candidate.form.concurrency),
       .prefill = {.ranks = static_cast<int>(side.workers * prefill.roles.ranks()),
                   .max_batch = task.in.most_requests,
                   .chunk = candidate.chunk},
       .decode = {.ranks = static_cast<int>(side.decode_workers * decode.roles.ranks()),
                  .max_batch = static_cast<int>(candidate.batch),
                  .cache_tokens = decode.capacity->cache_tokens},
       .transfer_ms_per_token =
           transfer_ms(decode.engine->set.system(), bytes_per_token, candidate.gpus())},
      WorkerSteps(*prefill.model, host), WorkerSteps(*decode.model, host));
  if (!result) return std::nullopt;
  return result->requests;
}

}  // namespace

std::optional<SimulationResult> simulated(const Candidate& candidate, const SweepTask& task,
                                          const SweptLayout& layout, const SweptLayout* prefill) {
  return prefill == nullptr ? simulated_together(candidate, task, layout)
                            : simulated_apart(candidate, task, layout, *prefill);
}

}  // namespace dsaperf::serving
