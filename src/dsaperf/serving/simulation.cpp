#include "dsaperf/serving/simulation.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/rank_scheduler.hpp"
#include "dsaperf/serving/request_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <random>

namespace dsaperf::serving {
namespace {

// Of the share of draft tokens that is kept, between requests: standard deviation over mean. Runs
// of equal requests on vLLM (docs/serving.md) fall out of step as they do with 0.15 to 0.25.
constexpr double kKeptSpread = 0.2;

// Whether any rank has a part of a prompt in its step.
bool prefills(const std::vector<RankLoad>& loads) {
  return std::any_of(loads.begin(), loads.end(),
                     [](const RankLoad& load) { return !load.chunks.empty(); });
}

class Worker {
 public:
  Worker(const SimulationInputs& inputs, const StepTimes& times, const Arrivals& arrivals)
      : in_(inputs),
        times_(times),
        arrivals_(arrivals),
        random_(inputs.traffic.seed),
        ranks_(static_cast<std::size_t>(inputs.ranks), RankScheduler(inputs)) {}

  Result<SimulationResult> run() {
    for (const Arrival& arrival : arrivals_.first()) expect(arrival);
    while (finished_.size() < static_cast<std::size_t>(arrivals_.total())) {
      if (!runs()) sight_ = now_;
      arrive();
      for (RankScheduler& rank : ranks_) rank.admit();
      if (!runs()) {
        if (pending_.empty() || pending_.front().seen_ms <= now_)
          return fail(
              Errc::kInvalidArgument,
              "a prompt of {:.0f} tokens and its answer do not fit into a cache of {:.0f} tokens",
              in_.traffic.isl, in_.cache_tokens);
        now_ = pending_.front().seen_ms;
        for (RankScheduler& rank : ranks_) rank.rest();
        continue;
      }
      DSAPERF_TRY(step());
      leave();
    }
    return summary();
  }

 private:
  bool runs() const {
    return std::any_of(ranks_.begin(), ranks_.end(),
                       [](const RankScheduler& rank) { return rank.runs(); });
  }

  void expect(const Arrival& arrival) {
    ScheduledRequest request{{arrival}};
    request.pace = pace();
    const auto later = std::upper_bound(
        pending_.begin(), pending_.end(), request.seen_ms,
        [](double seen, const ScheduledRequest& other) { return seen < other.seen_ms; });
    pending_.insert(later, request);
  }

  // How many draft tokens are kept depends on what a request is about: its pace is its own.
  double pace() {
    const double kept = in_.tokens_a_step - 1;
    if (kept <= 0) return 1;
    std::normal_distribution<double> spread(0, kKeptSpread * kept);
    return std::clamp(in_.tokens_a_step + spread(random_), 1.0, 1 + std::ceil(kept));
  }

  void arrive() {
    while (!pending_.empty() && pending_.front().seen_ms <= sight_) {
      next_rank().queue(pending_.front());
      pending_.pop_front();
    }
  }

  RankScheduler& next_rank() {
    if (in_.engine == Engine::kSglang) return ranks_[turn_++ % ranks_.size()];
    return *std::min_element(
        ranks_.begin(), ranks_.end(),
        [](const RankScheduler& a, const RankScheduler& b) { return a.requests() < b.requests(); });
  }

  Result<void> step() {
    loads_.clear();
    for (RankScheduler& rank : ranks_) {
      rank.plan();
      loads_.push_back(rank.load());
    }
    const bool is_mixed = prefills(loads_);
    double steps = 1;
    if (!is_mixed) {
      steps = kStride;
      for (const RankScheduler& rank : ranks_)
        if (rank.decoding() > 0) steps = std::min(steps, rank.steps_to_an_end());
      for (RankLoad& load : loads_)
        if (load.decoding > 0) load.total += (steps + 1) / 2 * in_.tokens_a_step;
    }
    DSAPERF_TRY_ASSIGN(const double ms, times_.step_ms(loads_));
    if (!is_mixed && !pending_.empty()) {  // an arrival ends the stretch, one step after it is seen
      const double until = std::max(std::ceil((pending_.front().seen_ms - now_) / ms), 0.0) + 1;
      steps = std::clamp(until, 1.0, steps);
    }
    now_ += ms * steps;
    sight_ = is_mixed ? now_ : now_ - ms;
    for (RankScheduler& rank : ranks_) {
      batch_time_ += ms * steps * rank.decoding();
      rank.advance(steps, now_);
    }
    return {};
  }

  void leave() {
    for (RankScheduler& rank : ranks_)
      for (const ScheduledRequest& request : rank.leave(now_)) {
        finished_.push_back(request);
        if (const auto next = arrivals_.after(now_)) expect(*next);
      }
  }

  SimulationResult summary() const {
    RequestStatistics statistics;
    for (ScheduledRequest request : finished_) {
      request.answer += request.kept;
      statistics.add(request);
    }
    auto result = statistics.result(now_);
    std::vector<double> gaps;
    for (const RankScheduler& rank : ranks_) {
      gaps.insert(gaps.end(), rank.gaps_ms().begin(), rank.gaps_ms().end());
      result.preempted += rank.preempted();
    }
    result.gap_ms = percentiles(std::move(gaps));
    result.mean_batch = batch_time_ / now_ / static_cast<double>(ranks_.size());
    return result;
  }

  const SimulationInputs& in_;
  const StepTimes& times_;
  Arrivals arrivals_;
  std::mt19937_64 random_;
  std::vector<RankScheduler> ranks_;
  std::size_t turn_ = 0;  // of the ranks
  std::vector<RankLoad> loads_;
  double now_ = 0;
  double sight_ = 0;  // arrivals up to here are known to the step that is decided next
  std::deque<ScheduledRequest> pending_;  // not arrived yet, by time
  std::vector<ScheduledRequest> finished_;
  double batch_time_ = 0;
};

}  // namespace

Percentiles percentiles(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const auto at = [&](double part) {
    const double position = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] +
           (values[above] - values[below]) * (position - static_cast<double>(below));
  };
  const double sum = std::accumulate(values.begin(), values.end(), 0.0);
  return {.p50 = at(0.5),
          .p90 = at(0.9),
          .p99 = at(0.99),
          .mean = sum / static_cast<double>(values.size())};
}

Result<SimulationResult> simulate(const SimulationInputs& inputs, const StepTimes& times) {
  if (inputs.chunk < 1 || inputs.max_batch < 1 || inputs.ranks < 1)
    return fail(Errc::kInvalidArgument, "chunk {}, max batch {}, ranks {}: sizes start at 1",
                inputs.chunk, inputs.max_batch, inputs.ranks);
  DSAPERF_TRY_ASSIGN(const auto arrivals, Arrivals::open(inputs.traffic));
  return Worker(inputs, times, arrivals).run();
}

}  // namespace dsaperf::serving
