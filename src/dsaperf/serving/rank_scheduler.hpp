#pragma once

#include "dsaperf/serving/request_statistics.hpp"
#include "dsaperf/serving/simulation.hpp"

#include <cstdint>
#include <deque>
#include <vector>

namespace dsaperf::serving {

struct ScheduledRequest : ServedRequest {
  double pace = 1;            // tokens a decode step adds
  double kept = 0;            // of the answer, from before its cache was taken
  std::int64_t refusals = 0;  // of anybody, before it came to wait

  double length() const { return prefilled + produced; }
  bool decodes() const { return prefilled >= prompt; }
};

// The requests of one attention rank: who waits, who is admitted, what its next step holds. The
// clock is the worker's, whose ranks step together.
class RankScheduler {
 public:
  explicit RankScheduler(const SimulationInputs& inputs);

  void queue(const ScheduledRequest& request);
  // Those that wait, while there is room for them.
  void admit();
  bool runs() const { return !running_.empty(); }
  double requests() const { return static_cast<double>(running_.size() + waiting_.size()); }

  // Chooses the step; what `load` shows points into this rank until the next one.
  void plan();
  RankLoad load() const;
  double decoding() const { return static_cast<double>(decoding_.size()); }
  // Decode steps until a request of it ends.
  double steps_to_an_end() const;
  // The step that was planned is over: once, or `steps` times where it holds decode alone.
  void advance(double steps, double now_ms);
  // Those that are done.
  std::vector<ScheduledRequest> leave(double now_ms);
  // Nothing has run for a while.
  void rest();

  const std::vector<double>& gaps_ms() const { return gaps_; }
  double preempted() const { return preempted_; }

 private:
  double held_tokens() const;
  double reserved(const ScheduledRequest& request) const;
  double asked(const ScheduledRequest& request) const;
  void preempt();

  const SimulationInputs& in_;
  double first_ratio_ = 0;
  double ratio_ = 0;
  std::int64_t refusals_ = 0;              // of the first in the queue
  std::deque<ScheduledRequest> waiting_;   // not admitted yet
  std::vector<ScheduledRequest> running_;  // in order of admission
  std::vector<Chunk> chunks_;              // of the step
  std::vector<ScheduledRequest*> filling_;
  std::vector<ScheduledRequest*> decoding_;
  std::vector<double> gaps_;
  double preempted_ = 0;
};

}  // namespace dsaperf::serving
