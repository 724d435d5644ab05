#include "dsaperf/kernels/sm90/topk/plan.hpp"

#include <algorithm>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr int kSharedBytes = 227 * 1024;
constexpr int kFixedBytes = 10 * 1024;  // bins, finalists: sizeof(TopkShared), rounded up

int round_up(std::int64_t value, int multiple) {
  return static_cast<int>((value + multiple - 1) / multiple * multiple);
}

}  // namespace

TopkPlan plan_topk(std::int64_t rows, std::int64_t columns, int topk, int sm_count) {
  TopkPlan plan;
  // A row with an SM to itself is about latency: many threads. More rows than SMs are about
  // throughput: four small CTAs an SM, so that one streams while another counts.
  const bool few = rows <= sm_count;
  // The sample of very long rows leaves the number of candidates uncertain by a sixth.
  const bool wide = few || columns > 160 * 1024;
  plan.threads = wide ? 1024 : 256;
  plan.capacity = std::clamp(wide ? 4 * topk : 5 * topk / 2, 2048, 16384);
  if (columns <= plan.capacity) {
    plan.capacity = round_up(std::max<std::int64_t>(columns, 32), 32);
  } else if (few) {
    constexpr int kLeastSlice = 8192;
    while (plan.cluster < 16 && rows * plan.cluster * 2 <= sm_count &&
           columns / (plan.cluster * 2) >= kLeastSlice) {
      plan.cluster *= 2;
    }
  }
  const int bytes_of_candidate = columns <= plan.capacity ? 4 : 8;
  const int left = 8 * (kSharedBytes - kFixedBytes - plan.capacity * bytes_of_candidate);
  plan.window = std::min(round_up(std::max<std::int64_t>(columns, 32), 32), left / 32 * 32);
  return plan;
}

}  // namespace dsaperf::kernels::sm90
