#include "dsaperf/serving/simulation.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/request_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <numeric>
#include <random>

namespace dsaperf::serving {
namespace {

// SGLang's new_token_ratio: the part of its answers that the running requests are expected to take.
constexpr double kFirstRatio = 0.7;
constexpr double kLeastRatio = 0.7 * 0.14;
constexpr double kRatioStep = (kFirstRatio - kLeastRatio) / 600;
constexpr double kStepsAfterRetraction = 20;
constexpr double kLongestAnswerCounted = 4096;

// Of the share of draft tokens that is kept, between requests: standard deviation over mean. Runs
// of equal requests on vLLM (docs/serving.md) fall out of step as they do with 0.15 to 0.25.
constexpr double kKeptSpread = 0.2;

struct ScheduledRequest : ServedRequest {
  double pace = 1;            // tokens a decode step adds
  double kept = 0;            // of the answer, from before its cache was taken
  std::int64_t refusals = 0;  // of anybody, before it came to wait

  double length() const { return prefilled + produced; }
  bool decodes() const { return prefilled >= prompt; }
};

class Scheduler {
 public:
  Scheduler(const SimulationInputs& inputs, const StepTimes& times, const Arrivals& arrivals)
      : in_(inputs), times_(times), arrivals_(arrivals), random_(inputs.traffic.seed) {}

  Result<SimulationResult> run() {
    for (const Arrival& arrival : arrivals_.first()) expect(arrival);
    while (finished_.size() < static_cast<std::size_t>(arrivals_.total())) {
      if (running_.empty()) sight_ = now_;
      arrive();
      admit();
      if (running_.empty()) {
        if (pending_.empty() || pending_.front().seen_ms <= now_)
          return fail(
              Errc::kInvalidArgument,
              "a prompt of {:.0f} tokens and its answer do not fit into a cache of {:.0f} tokens",
              in_.traffic.isl, in_.cache_tokens);
        now_ = pending_.front().seen_ms;
        ratio_ = kFirstRatio;
        continue;
      }
      DSAPERF_TRY(step());
      leave();
    }
    return summary();
  }

 private:
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
      pending_.front().refusals = refusals_;
      waiting_.push_back(pending_.front());
      pending_.pop_front();
    }
  }

  double held_tokens() const {
    return std::accumulate(
        running_.begin(), running_.end(), 0.0,
        [&](double sum, const ScheduledRequest& request) { return sum + reserved(request); });
  }

  // What a request takes of the cache in the eyes of the engine that admits the next one.
  double reserved(const ScheduledRequest& request) const {
    const double now = std::max(request.prompt, request.length());
    const double to_come = std::max(request.answer - request.produced, 0.0);
    switch (in_.engine) {
      case Engine::kTrtllm:
        return request.prompt + request.answer;
      case Engine::kVllm:
        return now;
      case Engine::kSglang:
        return now + ratio_ * std::min(to_come, kLongestAnswerCounted);
    }
    return now;
  }

  // What it must find free itself.
  double asked(const ScheduledRequest& request) const {
    return in_.engine == Engine::kSglang
               ? request.prompt + std::min(request.answer, kLongestAnswerCounted)
               : reserved(request);
  }

  void admit() {
    double held = held_tokens();
    double budget = in_.chunk;
    for (const ScheduledRequest& request : running_)
      if (!request.decodes()) budget -= request.prompt - request.prefilled;
    while (!waiting_.empty() && static_cast<int>(running_.size()) < in_.max_batch && budget > 0) {
      ScheduledRequest& next = waiting_.front();
      const double asks = running_.empty() ? reserved(next) : asked(next);
      if (held + asks > in_.cache_tokens) {
        ++refusals_;  // all who wait were refused
        return;
      }
      held += asks;
      next.waited = next.waited || refusals_ > next.refusals;
      next.prefilled = std::max(next.prefilled, next.cached);
      budget -= next.prompt - next.prefilled;
      running_.push_back(next);
      waiting_.pop_front();
    }
  }

  Result<void> step() {
    std::vector<Chunk> chunks;
    std::vector<ScheduledRequest*> filling;
    std::vector<ScheduledRequest*> decoding;
    double budget = in_.chunk;
    for (ScheduledRequest& request : running_)
      if (request.decodes()) decoding.push_back(&request);
    if (in_.engine != Engine::kSglang)
      budget = std::max(budget - static_cast<double>(decoding.size()), 1.0);
    for (ScheduledRequest& request : running_) {
      if (request.decodes() || budget <= 0) continue;
      const double part = std::min(budget, request.prompt - request.prefilled);
      chunks.push_back({.new_tokens = part, .past = request.prefilled});
      filling.push_back(&request);
      budget -= part;
    }
    if (chunks.empty()) return decode(decoding);
    if (in_.engine == Engine::kSglang) decoding.clear();

    DSAPERF_TRY_ASSIGN(
        const double ms,
        times_.mixed_ms(chunks, static_cast<double>(decoding.size()), mean_length(decoding)));
    pass(ms, decoding.size());
    sight_ = now_;
    for (std::size_t i = 0; i < filling.size(); ++i) {
      filling[i]->prefilled += chunks[i].new_tokens;
      if (!filling[i]->decodes()) continue;
      filling[i]->produced = 1;
      filling[i]->last_ms = now_;
      if (filling[i]->first_ms < 0) filling[i]->first_ms = now_;
    }
    progress(decoding, 1);
    return {};
  }

  Result<void> decode(const std::vector<ScheduledRequest*>& decoding) {
    double steps = kStride;
    for (const ScheduledRequest* request : decoding)
      steps = std::min(steps, std::ceil((request->answer - request->produced) / request->pace));
    steps = std::max(steps, 1.0);
    const double middle = mean_length(decoding) + (steps + 1) / 2 * in_.tokens_a_step;
    DSAPERF_TRY_ASSIGN(const double ms,
                       times_.decode_ms(static_cast<double>(decoding.size()), middle));
    if (!pending_.empty()) {  // an arrival ends the stretch, one step after the engine sees it
      const double until = std::max(std::ceil((pending_.front().seen_ms - now_) / ms), 0.0) + 1;
      steps = std::clamp(until, 1.0, steps);
    }
    pass(ms * steps, decoding.size());
    sight_ = now_ - ms;
    ratio_ = std::max(ratio_ - steps * kRatioStep, kLeastRatio);
    progress(decoding, steps);
    return preempt();
  }

  // The cache is full although every request was admitted with room: the youngest starts again.
  Result<void> preempt() {
    double used = 0;
    for (const ScheduledRequest& request : running_) used += request.length();
    while (used > in_.cache_tokens && running_.size() > 1) {
      ScheduledRequest victim = running_.back();
      running_.pop_back();
      used -= victim.length();
      victim.prompt += victim.produced;  // what it had produced is prefilled again
      victim.answer = std::max(victim.answer - victim.produced, 1.0);
      victim.kept += victim.produced;
      victim.produced = victim.prefilled = 0;
      victim.refusals = refusals_;
      ++preempted_;
      waiting_.push_front(victim);
      double produced = 0;
      double answers = 1;
      for (const ScheduledRequest& request : running_) {
        produced += request.produced + kStepsAfterRetraction;
        answers += request.answer;
      }
      ratio_ = std::min(produced / answers, 1.0);
    }
    return {};
  }

  void progress(const std::vector<ScheduledRequest*>& decoding, double steps) {
    for (ScheduledRequest* request : decoding) {
      request->produced = std::min(request->answer, request->produced + steps * request->pace);
      gaps_.push_back((now_ - request->last_ms) / (steps * request->pace));
      request->last_ms = now_;
    }
  }

  void pass(double ms, std::size_t decoding) {
    now_ += ms;
    batch_time_ += ms * static_cast<double>(decoding);
  }

  void leave() {
    for (std::size_t i = 0; i < running_.size();) {
      ScheduledRequest& request = running_[i];
      if (request.decodes() && request.produced >= request.answer) {
        request.last_ms = now_;
        finished_.push_back(request);
        running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
        if (const auto next = arrivals_.after(now_)) expect(*next);
      } else {
        ++i;
      }
    }
  }

  static double mean_length(const std::vector<ScheduledRequest*>& requests) {
    if (requests.empty()) return 0;
    double sum = 0;
    for (const ScheduledRequest* request : requests) sum += request->length();
    return sum / static_cast<double>(requests.size());
  }

  SimulationResult summary() const {
    RequestStatistics statistics;
    for (ScheduledRequest request : finished_) {
      request.answer += request.kept;
      statistics.add(request);
    }
    auto result = statistics.result(now_);
    result.gap_ms = percentiles(gaps_);
    result.mean_batch = batch_time_ / now_;
    result.preempted = preempted_;
    return result;
  }

  const SimulationInputs& in_;
  const StepTimes& times_;
  Arrivals arrivals_;
  std::mt19937_64 random_;
  double now_ = 0;
  double sight_ = 0;  // arrivals up to here are known to the step that is decided next
  double ratio_ = kFirstRatio;
  std::deque<ScheduledRequest> pending_;   // not arrived yet, by time
  std::int64_t refusals_ = 0;              // of the first in the queue
  std::deque<ScheduledRequest> waiting_;   // not admitted yet
  std::vector<ScheduledRequest> running_;  // in order of admission
  std::vector<ScheduledRequest> finished_;
  std::vector<double> gaps_;
  double batch_time_ = 0;
  double preempted_ = 0;
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
  if (inputs.chunk < 1 || inputs.max_batch < 1)
    return fail(Errc::kInvalidArgument, "chunk {}, max batch {}: sizes start at 1", inputs.chunk,
                inputs.max_batch);
  DSAPERF_TRY_ASSIGN(const auto arrivals, Arrivals::open(inputs.traffic));
  return Scheduler(inputs, times, arrivals).run();
}

}  // namespace dsaperf::serving
