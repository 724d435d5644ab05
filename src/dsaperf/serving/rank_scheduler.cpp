#include "dsaperf/serving/rank_scheduler.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace dsaperf::serving {
namespace {

// SGLang's new_token_ratio: the part of its answers that the running requests are expected to take.
constexpr double kFirstRatio = 0.7;
constexpr double kLeastPart = 0.14;  // of the first ratio, after kRatioSteps
constexpr double kRatioSteps = 600;
// With copies of the attention it is less careful (schedule_conservativeness, times 0.3).
constexpr double kCarefulCopies = 0.3;
constexpr double kStepsAfterRetraction = 20;
constexpr double kLongestAnswerCounted = 4096;

}  // namespace

RankScheduler::RankScheduler(const SimulationInputs& inputs)
    : in_(inputs),
      first_ratio_(kFirstRatio * (inputs.ranks > 1 ? kCarefulCopies : 1)),
      ratio_(first_ratio_) {
}

void RankScheduler::queue(const ScheduledRequest& request) {
  waiting_.push_back(request);
  waiting_.back().refusals = refusals_;
}

double RankScheduler::held_tokens() const {
  return std::accumulate(
      running_.begin(), running_.end(), 0.0,
      [&](double sum, const ScheduledRequest& request) { return sum + reserved(request); });
}

// What a request takes of the cache in the eyes of the engine that admits the next one.
double RankScheduler::reserved(const ScheduledRequest& request) const {
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
double RankScheduler::asked(const ScheduledRequest& request) const {
  return in_.engine == Engine::kSglang
             ? request.prompt + std::min(request.answer, kLongestAnswerCounted)
             : reserved(request);
}

void RankScheduler::admit() {
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

void RankScheduler::plan() {
  chunks_.clear();
  filling_.clear();
  decoding_.clear();
  double budget = in_.chunk;
  for (ScheduledRequest& request : running_)
    if (request.decodes()) decoding_.push_back(&request);
  if (in_.engine != Engine::kSglang) budget = std::max(budget - decoding(), 1.0);
  for (ScheduledRequest& request : running_) {
    if (request.decodes() || budget <= 0) continue;
    const double part = std::min(budget, request.prompt - request.prefilled);
    chunks_.push_back({.new_tokens = part, .past = request.prefilled});
    filling_.push_back(&request);
    budget -= part;
  }
  if (in_.engine == Engine::kSglang && !chunks_.empty()) decoding_.clear();
}

RankLoad RankScheduler::load() const {
  double sum = 0;
  for (const ScheduledRequest* request : decoding_) sum += request->length();
  return {
      .chunks = chunks_, .decoding = decoding(), .total = decoding_.empty() ? 0 : sum / decoding()};
}

double RankScheduler::steps_to_an_end() const {
  double steps = kStride;
  for (const ScheduledRequest* request : decoding_)
    steps = std::min(steps, std::ceil((request->answer - request->produced) / request->pace));
  return std::max(steps, 1.0);
}

void RankScheduler::advance(double steps, double now_ms) {
  for (std::size_t i = 0; i < filling_.size(); ++i) {
    filling_[i]->prefilled += chunks_[i].new_tokens;
    if (!filling_[i]->decodes()) continue;
    filling_[i]->produced = 1;
    filling_[i]->last_ms = now_ms;
    if (filling_[i]->first_ms < 0) filling_[i]->first_ms = now_ms;
  }
  for (ScheduledRequest* request : decoding_) {
    request->produced = std::min(request->answer, request->produced + steps * request->pace);
    gaps_.push_back((now_ms - request->last_ms) / (steps * request->pace));
    request->last_ms = now_ms;
  }
  if (!chunks_.empty() || decoding_.empty()) return;
  const double least = kLeastPart * first_ratio_;
  ratio_ = std::max(ratio_ - steps * (first_ratio_ - least) / kRatioSteps, least);
  preempt();
}

// The cache is full although every request was admitted with room: the youngest starts again.
void RankScheduler::preempt() {
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
}

std::vector<ScheduledRequest> RankScheduler::leave(double now_ms) {
  std::vector<ScheduledRequest> done;
  for (std::size_t i = 0; i < running_.size();) {
    ScheduledRequest& request = running_[i];
    if (request.decodes() && request.produced >= request.answer) {
      request.last_ms = now_ms;
      done.push_back(request);
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
  return done;
}

void RankScheduler::rest() {
  ratio_ = first_ratio_;
}

}  // namespace dsaperf::serving
