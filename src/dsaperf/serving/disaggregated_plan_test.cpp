#include "dsaperf/serving/disaggregated_plan.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace dsaperf::serving {
namespace {

RoleTimes role(int tp, double prefill_ms, double first_step_ms) {
  RoleTimes times{.layout = {}, .prefill_ms = prefill_ms, .decode = {}};
  times.layout.tp = tp;
  for (int batch = 1; batch <= 256; batch += batch < 16 ? 1 : 8)
    times.decode.push_back({static_cast<double>(batch), first_step_ms + 0.1 * batch});
  return times;
}

double on_all_gpus(const DisaggregatedPlan& plan, const PlanLimits& limits) {
  return plan.requests_s * (limits.gpus / plan.gpus);
}

// Of every group at every batch; without limits a queue's length does not matter.
double most_on_all_gpus(const RoleTimes& prefill, const RoleTimes& decode,
                        const PlanLimits& limits) {
  double most = 0;
  for (int p = 1; p * prefill.layout.gpus() < limits.gpus; ++p) {
    for (int d = 1; p * prefill.layout.gpus() + d * decode.layout.gpus() <= limits.gpus; ++d) {
      const int groups = limits.gpus / (p * prefill.layout.gpus() + d * decode.layout.gpus());
      for (const auto& point : decode.decode) {
        const double rate = d * point.batch / (point.step_ms * (limits.osl - 1)) * 1000;
        if (rate <= 0.85 * p * prefill.prefill_requests_s()) most = std::max(most, rate * groups);
      }
    }
  }
  return most;
}

TEST(DisaggregatedPlanTest, NoGroupThatIsPassedOverDoesMore) {
  const std::vector<RoleTimes> layouts = {role(4, 300, 12), role(8, 170, 9), role(16, 110, 7)};
  for (const int gpus : {8, 16, 40, 72, 128}) {
    const PlanLimits limits{.gpus = gpus, .osl = 512};
    for (const auto& plan : best_plans(layouts, limits)) {
      EXPECT_NEAR(on_all_gpus(plan, limits),
                  most_on_all_gpus(layouts[plan.prefill], layouts[plan.decode], limits), 1e-6)
          << gpus << " GPUs, layouts " << plan.prefill << " and " << plan.decode;
    }
  }
}

}  // namespace
}  // namespace dsaperf::serving
