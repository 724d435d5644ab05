#pragma once

#include "dsaperf/serving/deployment.hpp"

#include <cstddef>
#include <limits>
#include <vector>

namespace dsaperf::serving {

// A worker for one phase, as aiconfigurator 0.12's sweep lists it.
struct ListedWorker {
  Layout layout;
  double batch = 0;             // of one attention rank
  double latency_ms = 0;        // prefill: to the first token, its wait included; decode: a token
  double requests_s = 0;        // as it is used, see worker_rate
  double requests_s_a_gpu = 0;  // by which it is ranked
  bool exchanges_experts = false;  // DeepEP's exchanges
};

struct MatchRules {
  double osl = 1;
  double ttft_ms = std::numeric_limits<double>::infinity();
  std::vector<double> tpot_ms;  // limits; the best pairs of each are kept
  std::vector<bool> sizes;      // GPUs of one group of workers, by number: which may be
  double prefill_rate = 1, decode_rate = 1;  // shares of the requests a second that are reached
  bool same_tp = false;  // prefill and decode, but for workers with DeepEP's exchanges
  // What of the search is left out: all but the best prefill workers, the best batches of a decode
  // layout, and the best decode layouts of a limit.
  std::size_t prefill_workers = std::numeric_limits<std::size_t>::max();
  std::size_t decode_batches = std::numeric_limits<std::size_t>::max();
  std::size_t decode_layouts = std::numeric_limits<std::size_t>::max();
};

// A pair of the two lists, and how many workers of each serve together.
struct MatchedWorkers {
  std::size_t prefill = 0, decode = 0;
  int prefill_count = 0, decode_count = 0;
};

// For each limit on a token's time, and each layout of decode workers, the pair with the most
// requests a second and GPU; each pair once, in the order in which they are found.
std::vector<MatchedWorkers> matched_workers(const std::vector<ListedWorker>& prefill,
                                            const std::vector<ListedWorker>& decode,
                                            const MatchRules& rules);

}  // namespace dsaperf::serving
