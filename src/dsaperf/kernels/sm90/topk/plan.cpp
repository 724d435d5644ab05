#include "dsaperf/kernels/sm90/topk/plan.hpp"

#include "dsaperf/core/ceil_div.hpp"

#include <algorithm>

namespace dsaperf::kernels::sm90 {
namespace {

constexpr int kSharedBytes = 227 * 1024;
constexpr int kFixedBytes = 10 * 1024;  // bins, finalists: sizeof(TopkShared), rounded up

int round_up(std::int64_t value, int multiple) {
  return static_cast<int>(ceil_div(value, multiple) * multiple);
}

}  // namespace

TopkPlan plan_topk(std::int64_t rows, std::int64_t columns, int topk, int sm_count) {
  // A row with an SM to itself is about latency: many threads. More rows than SMs are about
  // throughput: several small CTAs an SM, so that one streams while another counts.
  const bool few = fit_alone(rows, 1, sm_count);
  if (columns <= 4096) {
    return rows <= 2 * sm_count ? TopkPlan{.threads = 512, .in_registers = 8, .alone = few}
                                : TopkPlan{.threads = 256, .in_registers = 16};
  }
  if (columns <= 8192) {
    return few ? TopkPlan{.threads = 1024, .in_registers = 8, .alone = true}
               : TopkPlan{.threads = 512, .in_registers = 16};
  }
  TopkPlan plan;
  // The sample of very long rows leaves the number of candidates uncertain by a sixth.
  const bool wide = few || columns > 160 * 1024;
  // Two CTAs an SM are better than four where there are no more, or where the stream is nearly all.
  const bool medium = rows <= 2 * sm_count || columns >= 64 * 1024;
  plan.threads = wide ? 1024 : medium ? 512 : 256;
  plan.capacity = std::clamp(round_up(wide ? 4 * topk : 5 * topk / 2, 32), 2048, 16384);
  if (few) {
    // One CTA an SM reads a row of 32768 as fast as a cluster, whose barriers cost 2 us. And a
    // cluster needs its SMs in one GPC, so not all of them can be had.
    constexpr int kLeastSlice = 8192;
    constexpr int kLeastForCluster = 65536;
    while (columns >= kLeastForCluster && plan.cluster < 16 &&
           rows * plan.cluster * 2 <= sm_count * 3 / 4 &&
           columns / (plan.cluster * 2) >= kLeastSlice) {
      plan.cluster *= 2;
    }
  }
  const int left = 8 * (kSharedBytes - kFixedBytes - 8 * plan.capacity);
  plan.window = std::min(round_up(columns, 128), left / 128 * 128);
  return plan;
}

bool fit_alone(std::int64_t ctas, int cluster, int sm_count) {
  // A cluster stands in one GPC, so not all SMs can be had: an H200 takes 30 clusters of 4 CTAs, 15
  // of 8 and 7 of 16 at a time.
  return ctas <= (cluster == 1 ? sm_count : sm_count / 2);
}

std::optional<TopkPlan> plan_segments(std::int64_t columns) {
  constexpr std::int64_t kMostSegments = 16;  // 16 x 4096 positions: what one cluster selects from
  TopkPlan plan{.threads = 1024, .in_registers = 16, .spread = true};
  const std::int64_t of_cta = std::int64_t{plan.threads} * plan.in_registers;
  if (columns <= 16 * of_cta) return std::nullopt;
  for (plan.cluster = 4; plan.cluster <= 16; plan.cluster *= 2) {
    const std::int64_t segments = ceil_div(columns, plan.cluster * of_cta);
    if (segments > kMostSegments) continue;
    plan.segments = static_cast<int>(segments);
    return plan;
  }
  return std::nullopt;
}

}  // namespace dsaperf::kernels::sm90
