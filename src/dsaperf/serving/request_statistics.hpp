#pragma once

#include "dsaperf/serving/simulation.hpp"

#include <vector>

namespace dsaperf::serving {

// A request on its way through an engine.
struct ServedRequest : Arrival {
  double prefilled = 0;  // of the prompt, cached tokens included
  double produced = 0;   // of the answer
  double first_ms = -1;  // its first token; not yet
  double last_ms = 0;
  bool waited = false;  // for room in the cache
};

// What the requests of a simulation took: the one place that says what TTFT and TPOT are.
class RequestStatistics {
 public:
  // One that is done.
  void add(const ServedRequest& request);
  // Of a simulation that ended at `end_ms`. Gaps, mean batch and preemptions are the engine's to
  // tell.
  SimulationResult result(double end_ms) const;

 private:
  std::vector<double> ttft_ms_, tpot_ms_, request_ms_;
  double tokens_ = 0;
  double waited_ = 0;
};

}  // namespace dsaperf::serving
