#pragma once

#include "dsaperf/serving/simulation.hpp"

#include <vector>

namespace dsaperf::serving {

// A request that is done.
struct RequestTimes {
  double arrival_ms = 0;
  double first_ms = 0;  // its first token
  double last_ms = 0;
  double answer = 0;    // tokens
  bool waited = false;  // for room in the cache
};

// What the requests of a simulation took: the one place that says what TTFT and TPOT are.
class RequestStatistics {
 public:
  void add(const RequestTimes& request);
  // Of a simulation that ended at `end_ms`. Gaps, mean batch and preemptions are the engine's to
  // tell.
  SimulationResult result(double end_ms) const;

 private:
  std::vector<double> ttft_ms_, tpot_ms_, request_ms_;
  double tokens_ = 0;
  double waited_ = 0;
};

}  // namespace dsaperf::serving
