#pragma once

#include "dsaperf/serving/deployment.hpp"

#include <cstddef>
#include <limits>
#include <optional>
#include <vector>

namespace dsaperf::serving {

// What a layout can do as a worker for prefill alone and for decode alone, the host's part
// included.
struct RoleTimes {
  Layout layout;
  std::optional<double> prefill_ms;  // of one prompt; empty: a prompt does not fit
  struct Decode {
    double batch = 0;  // requests of a rank
    double step_ms = 0;
  };
  std::vector<Decode> decode;  // that fit, by batch

  double ranks() const { return layout.dp * layout.pp; }
  double prefill_requests_s() const { return ranks() / *prefill_ms * 1000; }
};

struct PlanLimits {
  int gpus = 0;
  double osl = 0;
  double delay_ms = 0;             // before prefill: the host
  double transfer_inside_ms = 0;   // of a prompt's cache, all workers in one node
  double transfer_outside_ms = 0;  // else
  int gpus_per_node = 8;
  double ttft_ms = std::numeric_limits<double>::infinity();
  double tpot_ms = std::numeric_limits<double>::infinity();
};

// Prefill and decode workers that work together, as often as the GPUs allow.
struct DisaggregatedPlan {
  std::size_t prefill = 0, decode = 0;  // which of the layouts
  int prefill_workers = 0, decode_workers = 0;
  int gpus = 0;      // of one such group
  double batch = 0;  // of a decode rank
  double ttft_ms = 0, tpot_ms = 0;
  double requests_s = 0;  // of one group
  double prefill_busy = 0;
};

// For each pair of layouts the group with the most requests a second and GPU within the limits.
// Prefill workers are a queue with random arrivals and even service (M/D/c, by Sakasegawa's
// approximation) and are never busier than 85 %.
std::vector<DisaggregatedPlan> best_plans(const std::vector<RoleTimes>& layouts,
                                          const PlanLimits& limits);

}  // namespace dsaperf::serving
