#include "dsaperf/serving/disaggregated_match.hpp"

#include "dsaperf/serving/closed_form.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

namespace dsaperf::serving {
namespace {

constexpr int kMostWorkers = 32;  // of a kind

class Matcher {
 public:
  Matcher(const std::vector<ListedWorker>& prefill, const std::vector<ListedWorker>& decode,
          const MatchRules& rules)
      : prefill_(prefill), decode_(decode), rules_(rules), counts_(prefill.size() * decode.size()) {
    for (std::size_t p = 0; p < prefill.size(); ++p)
      if (prefill[p].latency_ms < rules.ttft_ms) first_.push_back(p);
    std::stable_sort(first_.begin(), first_.end(), [&](std::size_t a, std::size_t b) {
      const auto& x = prefill[a];
      const auto& y = prefill[b];
      if (x.requests_s_a_gpu != y.requests_s_a_gpu) return x.requests_s_a_gpu > y.requests_s_a_gpu;
      return x.batch * x.layout.dp < y.batch * y.layout.dp;
    });
    first_.resize(std::min(first_.size(), rules.prefill_workers));
    for (std::size_t d = 0; d < decode.size(); ++d) groups_[decode[d].layout.text()].push_back(d);
    for (auto& [layout, group] : groups_)
      std::stable_sort(group.begin(), group.end(), [&](std::size_t a, std::size_t b) {
        return decode[a].requests_s_a_gpu > decode[b].requests_s_a_gpu;
      });
  }

  std::vector<MatchedWorkers> run() {
    std::vector<MatchedWorkers> all;
    std::set<std::pair<std::size_t, std::size_t>> seen;
    for (const double limit : rules_.tpot_ms) {
      std::vector<Match> best;
      for (const auto& [layout, group] : groups_)
        if (auto match = best_of(group, limit)) best.push_back(*match);
      // Where prefill limits many layouts to one rate, the package keeps what an unstable sort
      // leaves first: here the faster for a user.
      std::stable_sort(best.begin(), best.end(), [&](const Match& a, const Match& b) {
        const double x = three_decimals(a.tokens_s_a_gpu), y = three_decimals(b.tokens_s_a_gpu);
        return x != y ? x > y : latency(a) < latency(b);
      });
      best.resize(std::min(best.size(), rules_.decode_layouts));
      for (const Match& match : best)
        if (seen.emplace(match.workers.prefill, match.workers.decode).second)
          all.push_back(match.workers);
    }
    return all;
  }

 private:
  struct Counts {
    int prefill = -1, decode = 0;  // prefill -1: not asked yet; 0: none will do
  };
  struct Match {
    MatchedWorkers workers;
    double tokens_s_a_gpu = 0;
    int gpus = 0;
  };

  // The best pair of a layout's batches, fewer GPUs among equals.
  std::optional<Match> best_of(const std::vector<std::size_t>& group, double limit) {
    std::optional<Match> best;
    std::size_t batches = 0;
    for (const std::size_t d : group) {
      const ListedWorker& decode = decode_[d];
      if (decode.latency_ms >= limit || decode.latency_ms <= 0) continue;
      if (++batches > rules_.decode_batches) break;
      for (const std::size_t p : first_) {
        const ListedWorker& prefill = prefill_[p];
        if (rules_.same_tp && prefill.layout.tp != decode.layout.tp && !prefill.exchanges_experts &&
            !decode.exchanges_experts)
          continue;
        const Counts counts = counts_of(p, d);
        if (counts.prefill == 0) continue;
        const Match match{{.prefill = p,
                           .decode = d,
                           .prefill_count = counts.prefill,
                           .decode_count = counts.decode},
                          rate(p, d, counts) * rules_.osl / gpus(p, d, counts),
                          gpus(p, d, counts)};
        if (!best || match.tokens_s_a_gpu > best->tokens_s_a_gpu ||
            (match.tokens_s_a_gpu == best->tokens_s_a_gpu && match.gpus < best->gpus))
          best = match;
      }
    }
    return best;
  }

  double latency(const Match& match) const { return decode_[match.workers.decode].latency_ms; }

  double rate(std::size_t p, std::size_t d, const Counts& counts) const {
    return std::min(prefill_[p].requests_s * counts.prefill * rules_.prefill_rate,
                    decode_[d].requests_s * counts.decode * rules_.decode_rate);
  }
  int gpus(std::size_t p, std::size_t d, const Counts& counts) const {
    return prefill_[p].layout.gpus() * counts.prefill + decode_[d].layout.gpus() * counts.decode;
  }

  Counts counts_of(std::size_t p, std::size_t d) {
    Counts& best = counts_[p * decode_.size() + d];
    if (best.prefill >= 0) return best;
    best.prefill = 0;
    double most = 0;
    for (int decode = 1; decode <= kMostWorkers; ++decode) {
      for (int prefill = 1; prefill <= kMostWorkers; ++prefill) {
        const Counts counts{prefill, decode};
        const auto size = static_cast<std::size_t>(gpus(p, d, counts));
        if (size >= rules_.sizes.size()) break;
        if (!rules_.sizes[size]) continue;
        const double a_gpu = rate(p, d, counts) / static_cast<double>(size);
        if (a_gpu <= most) continue;
        most = a_gpu;
        best = counts;
      }
    }
    return best;
  }

  const std::vector<ListedWorker>& prefill_;
  const std::vector<ListedWorker>& decode_;
  const MatchRules& rules_;
  std::vector<std::size_t> first_;                          // prefill workers, the best first
  std::map<std::string, std::vector<std::size_t>> groups_;  // decode workers by layout
  std::vector<Counts> counts_;                              // by pair
};

}  // namespace

std::vector<MatchedWorkers> matched_workers(const std::vector<ListedWorker>& prefill,
                                            const std::vector<ListedWorker>& decode,
                                            const MatchRules& rules) {
  return Matcher(prefill, decode, rules).run();
}

}  // namespace dsaperf::serving
