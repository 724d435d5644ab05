#include "dsaperf/serving/disaggregated.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/serving/request_statistics.hpp"

#include <algorithm>
#include <cmath>
#include <deque>
#include <queue>

namespace dsaperf::serving {
namespace {

// Its cache is the decode worker's, where it waits for room.
struct TransferredRequest : ServedRequest {
  double transferred_ms = 0;  // its cache is there
  double prefill_wait_ms = 0;
  double decode_wait_ms = 0;

  double length() const { return prompt + produced; }
};

enum class EventKind { kSeen, kPrefilled, kTransferred, kDecoded };
struct Event {
  double at_ms = 0;
  EventKind kind = EventKind::kSeen;
  std::size_t index = 0;   // of the request, or of the rank
  std::uint64_t turn = 0;  // kDecoded: of the rank; another turn has overtaken this event
  bool operator>(const Event& other) const { return at_ms > other.at_ms; }
};

struct PrefillRank {
  std::vector<std::size_t> running;
  std::vector<double> parts;  // tokens of each in this step
  bool busy = false;
};

struct DecodeRank {
  std::vector<std::size_t> running;
  std::deque<std::size_t> waiting;
  double start_ms = 0;  // of the stretch of decode steps that runs
  double step_ms = 0;
  double steps = 0;
  std::uint64_t turn = 0;
  bool busy = false;
};

class Simulator {
 public:
  Simulator(const DisaggregatedInputs& inputs, const StepTimes& prefill, const StepTimes& decode,
            const Arrivals& arrivals)
      : in_(inputs),
        prefill_times_(prefill),
        decode_times_(decode),
        arrivals_(arrivals),
        prefill_(static_cast<std::size_t>(inputs.prefill.ranks)),
        decode_(static_cast<std::size_t>(inputs.decode.ranks)) {}

  Result<DisaggregatedResult> run() {
    requests_.reserve(static_cast<std::size_t>(arrivals_.total()));
    for (const Arrival& arrival : arrivals_.first()) expect(arrival);
    while (!events_.empty()) {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at_ms;
      DSAPERF_TRY(handle(event));
    }
    if (finished_ < arrivals_.total())
      return fail(Errc::kInvalidArgument,
                  "a prompt of {:.0f} tokens and its answer do not fit into a decode cache of "
                  "{:.0f} tokens",
                  in_.traffic.isl, in_.decode.cache_tokens);
    return summary();
  }

 private:
  void expect(const Arrival& arrival) {
    TransferredRequest request{{arrival}};
    request.prefilled = request.cached;
    events_.push({.at_ms = request.seen_ms, .kind = EventKind::kSeen, .index = requests_.size()});
    requests_.push_back(request);
  }

  Result<void> handle(const Event& event) {
    switch (event.kind) {
      case EventKind::kSeen:
        queue_.push_back(event.index);
        return start_prefill();
      case EventKind::kPrefilled:
        DSAPERF_TRY(end_prefill(prefill_[event.index]));
        return start_prefill();
      case EventKind::kTransferred:
        return join(event.index);
      case EventKind::kDecoded: {
        DecodeRank& rank = decode_[event.index];
        if (!rank.busy || rank.turn != event.turn) return {};
        progress(rank, rank.steps);
        return start_decode(rank);
      }
    }
    return {};
  }

  Result<void> start_prefill() {
    for (std::size_t i = 0; i < prefill_.size(); ++i) {
      PrefillRank& rank = prefill_[i];
      if (rank.busy) continue;
      double budget = in_.prefill.chunk;
      for (const std::size_t index : rank.running)
        budget -= requests_[index].prompt - requests_[index].prefilled;
      while (budget > 0 && !queue_.empty() &&
             static_cast<int>(rank.running.size()) < in_.prefill.max_batch) {
        TransferredRequest& next = requests_[queue_.front()];
        next.prefill_wait_ms = now_ - next.seen_ms;
        budget -= next.prompt - next.prefilled;
        rank.running.push_back(queue_.front());
        queue_.pop_front();
      }
      if (rank.running.empty()) continue;
      std::vector<Chunk> chunks;
      rank.parts.clear();
      budget = in_.prefill.chunk;
      for (const std::size_t index : rank.running) {
        const TransferredRequest& request = requests_[index];
        const double part = std::min(budget, request.prompt - request.prefilled);
        if (part <= 0) break;
        chunks.push_back({.new_tokens = part, .past = request.prefilled});
        rank.parts.push_back(part);
        budget -= part;
      }
      const RankLoad load{.chunks = chunks};
      DSAPERF_TRY_ASSIGN(const double ms, prefill_times_.step_ms({&load, 1}));
      rank.busy = true;
      prefill_busy_ms_ += ms;
      events_.push({.at_ms = now_ + ms, .kind = EventKind::kPrefilled, .index = i});
    }
    return {};
  }

  Result<void> end_prefill(PrefillRank& rank) {
    rank.busy = false;
    std::vector<std::size_t> rest;
    for (std::size_t i = 0; i < rank.running.size(); ++i) {
      TransferredRequest& request = requests_[rank.running[i]];
      if (i < rank.parts.size()) request.prefilled += rank.parts[i];
      if (request.prefilled < request.prompt) {
        rest.push_back(rank.running[i]);
        continue;
      }
      const double transfer = request.prompt * in_.transfer_ms_per_token;
      events_.push(
          {.at_ms = now_ + transfer, .kind = EventKind::kTransferred, .index = rank.running[i]});
    }
    rank.running = std::move(rest);
    return {};
  }

  Result<void> join(std::size_t index) {
    TransferredRequest& request = requests_[index];
    request.transferred_ms = request.first_ms = request.last_ms = now_;
    request.produced = 1;
    DecodeRank& rank = *std::min_element(
        decode_.begin(), decode_.end(), [](const DecodeRank& a, const DecodeRank& b) {
          return a.running.size() + a.waiting.size() < b.running.size() + b.waiting.size();
        });
    rank.waiting.push_back(index);
    if (!rank.busy) return start_decode(rank);
    // The step that runs ends first, then the stretch is cut.
    const double done = std::ceil((now_ - rank.start_ms) / rank.step_ms);
    if (done < rank.steps) {
      rank.steps = std::max(done, 1.0);
      schedule(rank);
    }
    return {};
  }

  void schedule(DecodeRank& rank) {
    events_.push({.at_ms = rank.start_ms + rank.steps * rank.step_ms,
                  .kind = EventKind::kDecoded,
                  .index = static_cast<std::size_t>(&rank - decode_.data()),
                  .turn = ++rank.turn});
  }

  void progress(DecodeRank& rank, double steps) {
    const double ms = steps * rank.step_ms;
    decode_busy_ms_ += ms;
    batch_time_ += ms * static_cast<double>(rank.running.size());
    std::vector<std::size_t> rest;
    for (const std::size_t index : rank.running) {
      TransferredRequest& request = requests_[index];
      const double before = request.produced;
      request.produced = std::min(request.answer, before + steps * in_.tokens_a_step);
      gaps_.push_back((now_ - request.last_ms) / std::max(request.produced - before, 1.0));
      request.last_ms = now_;
      if (request.produced < request.answer)
        rest.push_back(index);
      else
        end(request);
    }
    rank.running = std::move(rest);
    rank.busy = false;
  }

  void end(TransferredRequest& request) {
    request.last_ms = now_;
    ++finished_;
    if (const auto next = arrivals_.after(now_)) expect(*next);
  }

  Result<void> start_decode(DecodeRank& rank) {
    double held = 0;
    for (const std::size_t index : rank.running)
      held += requests_[index].prompt + requests_[index].answer;
    while (!rank.waiting.empty() && static_cast<int>(rank.running.size()) < in_.decode.max_batch) {
      const std::size_t index = rank.waiting.front();
      TransferredRequest& request = requests_[index];
      if (held + request.prompt + request.answer > in_.decode.cache_tokens) {
        for (const std::size_t other : rank.waiting) requests_[other].waited = true;
        break;
      }
      rank.waiting.pop_front();
      request.decode_wait_ms = now_ - request.transferred_ms;
      if (request.produced >= request.answer) {
        end(request);
        continue;
      }
      held += request.prompt + request.answer;
      rank.running.push_back(index);
    }
    if (rank.running.empty()) return {};
    double steps = kStride;
    double length = 0;
    for (const std::size_t index : rank.running) {
      const TransferredRequest& request = requests_[index];
      steps = std::min(steps, std::ceil((request.answer - request.produced) / in_.tokens_a_step));
      length += request.length();
    }
    rank.steps = std::max(steps, 1.0);
    const auto n = static_cast<double>(rank.running.size());
    const RankLoad load{.decoding = n,
                        .total = length / n + (rank.steps + 1) / 2 * in_.tokens_a_step};
    DSAPERF_TRY_ASSIGN(rank.step_ms, decode_times_.step_ms({&load, 1}));
    rank.start_ms = now_;
    rank.busy = true;
    schedule(rank);
    return {};
  }

  DisaggregatedResult summary() const {
    RequestStatistics statistics;
    std::vector<double> prefill_wait, decode_wait;
    for (const TransferredRequest& request : requests_) {
      statistics.add(request);
      prefill_wait.push_back(request.prefill_wait_ms);
      decode_wait.push_back(request.decode_wait_ms);
    }
    auto requests = statistics.result(now_);
    requests.gap_ms = percentiles(gaps_);
    requests.mean_batch = batch_time_ / now_ / in_.decode.ranks;
    const auto share = [&](double busy, int ranks) { return busy / now_ / ranks; };
    return {.requests = requests,
            .prefill_wait_ms = percentiles(std::move(prefill_wait)),
            .transfer_wait_ms = percentiles(std::move(decode_wait)),
            .prefill_busy = share(prefill_busy_ms_, in_.prefill.ranks),
            .decode_busy = share(decode_busy_ms_, in_.decode.ranks)};
  }

  const DisaggregatedInputs& in_;
  const StepTimes& prefill_times_;
  const StepTimes& decode_times_;
  Arrivals arrivals_;
  std::vector<TransferredRequest> requests_;
  std::deque<std::size_t> queue_;  // for prefill
  std::vector<PrefillRank> prefill_;
  std::vector<DecodeRank> decode_;
  std::priority_queue<Event, std::vector<Event>, std::greater<>> events_;
  std::vector<double> gaps_;
  double now_ = 0;
  int finished_ = 0;
  double prefill_busy_ms_ = 0, decode_busy_ms_ = 0, batch_time_ = 0;
};

}  // namespace

double transfer_ms(const perfdb::SystemFile& system, double bytes, int gpus) {
  return bytes / (gpus <= system.gpus_per_node ? system.intra_node_bw : system.inter_node_bw) *
         1000;
}

Result<DisaggregatedResult> simulate_disaggregated(const DisaggregatedInputs& inputs,
                                                   const StepTimes& prefill,
                                                   const StepTimes& decode) {
  if (inputs.prefill.chunk < 1 || inputs.prefill.max_batch < 1 || inputs.decode.max_batch < 1 ||
      inputs.prefill.ranks < 1 || inputs.decode.ranks < 1)
    return fail(Errc::kInvalidArgument,
                "chunk {}, max batch {} and {}, {} prefill and {} decode ranks: sizes start at 1",
                inputs.prefill.chunk, inputs.prefill.max_batch, inputs.decode.max_batch,
                inputs.prefill.ranks, inputs.decode.ranks);
  DSAPERF_TRY_ASSIGN(const auto arrivals, Arrivals::open(inputs.traffic));
  return Simulator(inputs, prefill, decode, arrivals).run();
}

}  // namespace dsaperf::serving
