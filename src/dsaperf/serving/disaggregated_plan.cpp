#include "dsaperf/serving/disaggregated_plan.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::serving {
namespace {

constexpr double kBusiest = 0.85;

// Mean wait of a queue with `servers` of `service_ms` each: that of M/D/1 at the same utilisation,
// brought to more servers as the wait of M/M/c is (Sakasegawa).
double wait_ms(double service_ms, double servers, double busy) {
  return service_ms / (2 * servers) * std::pow(busy, std::sqrt(2 * (servers + 1)) - 1) / (1 - busy);
}

double decode_requests_s(const RoleTimes::Decode& point, double ranks, const PlanLimits& limits) {
  return ranks * point.batch / (point.step_ms * std::max(limits.osl - 1, 1.0)) * 1000;
}

// Of one worker, at any batch within the limit of a token's time.
double most_decode_requests_s(const RoleTimes& decode, const PlanLimits& limits) {
  double most = 0;
  for (const auto& point : decode.decode) {
    if (point.step_ms > limits.tpot_ms) break;
    most = std::max(most, decode_requests_s(point, decode.ranks(), limits));
  }
  return most;
}

std::optional<DisaggregatedPlan> best_of(const RoleTimes& prefill, const RoleTimes& decode,
                                         const PlanLimits& limits) {
  constexpr double kRounding = 1 + 1e-9;  // a bound is no less than what it bounds
  std::optional<DisaggregatedPlan> best;
  double best_on_all_gpus = 0;
  const double most_of_a_worker = most_decode_requests_s(decode, limits);
  const int p_gpus = prefill.layout.gpus();
  const int d_gpus = decode.layout.gpus();
  for (int p = 1; p * p_gpus < limits.gpus; ++p) {
    const double servers = p * prefill.ranks();
    const double most = p * prefill.prefill_requests_s();
    for (int d = 1; p * p_gpus + d * d_gpus <= limits.gpus; ++d) {
      const int gpus = p * p_gpus + d * d_gpus;
      const double groups = std::floor(static_cast<double>(limits.gpus) / gpus);
      const double bound = std::min(d * most_of_a_worker, kBusiest * most) * groups * kRounding;
      if (best && bound <= best_on_all_gpus) continue;
      for (const auto& point : decode.decode) {
        if (point.step_ms > limits.tpot_ms) break;
        const double rate = decode_requests_s(point, d * decode.ranks(), limits);
        const double busy = rate / most;
        if (busy > kBusiest) break;
        const bool one_node = gpus <= limits.gpus_per_node;
        const double ttft =
            limits.delay_ms + *prefill.prefill_ms + wait_ms(*prefill.prefill_ms, servers, busy) +
            (one_node ? limits.transfer_inside_ms : limits.transfer_outside_ms) + point.step_ms / 2;
        if (ttft > limits.ttft_ms) break;
        if (best && rate * groups <= best_on_all_gpus) continue;
        best_on_all_gpus = rate * groups;
        best = DisaggregatedPlan{.prefill_workers = p,
                                 .decode_workers = d,
                                 .gpus = gpus,
                                 .batch = point.batch,
                                 .ttft_ms = ttft,
                                 .tpot_ms = point.step_ms,
                                 .requests_s = rate,
                                 .prefill_busy = busy};
      }
    }
  }
  return best;
}

}  // namespace

std::vector<DisaggregatedPlan> best_plans(const std::vector<RoleTimes>& layouts,
                                          const PlanLimits& limits) {
  std::vector<DisaggregatedPlan> plans;
  for (std::size_t p = 0; p < layouts.size(); ++p) {
    if (!layouts[p].prefill_ms) continue;
    for (std::size_t d = 0; d < layouts.size(); ++d) {
      if (layouts[d].decode.empty()) continue;
      if (auto plan = best_of(layouts[p], layouts[d], limits)) {
        plan->prefill = p;
        plan->decode = d;
        plans.push_back(*plan);
      }
    }
  }
  return plans;
}

}  // namespace dsaperf::serving
