#include "dsaperf/trace/steps.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <optional>
#include <span>
#include <tuple>
#include <unordered_map>

namespace dsaperf::trace {
namespace {

constexpr double kLikeShare = 0.1;       // windows are alike up to this share of other kernels
constexpr double kExplainedShare = 0.7;  // of the launches that must lie in repeated windows
constexpr std::size_t kMostCandidates = 96;
constexpr std::size_t kMostKinds = 8;
constexpr double kWarmUpFactor = 1.5;

// Kernel sequence of the busiest stream of a device.
struct Sequence {
  std::int32_t device = 0;
  std::int64_t stream = 0;
  std::vector<std::size_t> at;        // index into launches
  std::vector<std::uint32_t> symbol;  // canonical kernel, small numbers
};

using Counts = std::unordered_map<std::uint32_t, int>;

Counts counts_of(std::span<const std::uint32_t> symbols) {
  Counts counts;
  for (const auto symbol : symbols) ++counts[symbol];
  return counts;
}

// Kernels that one has and the other lacks, as a share of all.
double distance(const Counts& a, const Counts& b, std::size_t size_a, std::size_t size_b) {
  double differing = 0;
  for (const auto& [symbol, count] : a) {
    const auto found = b.find(symbol);
    differing += std::abs(count - (found == b.end() ? 0 : found->second));
  }
  for (const auto& [symbol, count] : b) {
    if (!a.contains(symbol)) differing += count;
  }
  return differing / static_cast<double>(size_a + size_b);
}

// One way to cut a sequence: windows between the calls of one kernel, sorted into kinds.
struct Cut {
  std::vector<std::size_t> begins;  // in the sequence; one more than windows
  std::vector<int> kind;            // of each window; -1: like none
  std::vector<std::size_t> kind_size;
  double explained = 0;
};

// Where windows begin if each opens with one of these calls, or, for a kernel that ends a step, if
// each closes with one; with the end of the last window.
std::vector<std::size_t> window_begins(std::vector<std::size_t> calls, bool closes,
                                       std::size_t size) {
  const std::size_t first_length = calls[1] - calls[0];
  std::vector<std::size_t> begins;
  if (closes) {
    // The first call closes a window, too, if all of it was recorded.
    if (calls[0] + 1 >= first_length) begins.push_back(calls[0] + 1 - first_length);
    for (const auto call : calls) begins.push_back(call + 1);
    return begins;
  }
  // The last call opens a window whose end the sequence may not show; it is cut to the length of
  // the window before if more follows than any window has.
  begins = std::move(calls);
  const std::size_t last_length = begins[begins.size() - 1] - begins[begins.size() - 2];
  std::size_t longest = 0;
  for (std::size_t i = 0; i + 1 < begins.size(); ++i) {
    longest = std::max(longest, begins[i + 1] - begins[i]);
  }
  const std::size_t rest = size - begins.back();
  begins.push_back(rest <= longest ? size : begins.back() + last_length);
  return begins;
}

Cut cut_at(const Sequence& sequence, const std::vector<std::size_t>& calls, bool closes) {
  Cut cut;
  const std::size_t size = sequence.symbol.size();
  struct Kind {
    Counts counts;
    std::size_t length;
  };
  std::vector<Kind> kinds;
  auto begins = window_begins(calls, closes, size);
  for (std::size_t i = 0; i + 1 < begins.size(); ++i) {
    const std::span window(sequence.symbol.data() + begins[i], begins[i + 1] - begins[i]);
    auto counts = counts_of(window);
    int kind = -1;
    for (std::size_t k = 0; k < kinds.size(); ++k) {
      const double apart = distance(counts, kinds[k].counts, window.size(), kinds[k].length);
      if (apart <= kLikeShare) {
        kind = static_cast<int>(k);
        break;
      }
    }
    if (kind < 0 && kinds.size() < kMostKinds) {
      kind = static_cast<int>(kinds.size());
      kinds.push_back({std::move(counts), window.size()});
      cut.kind_size.push_back(0);
    }
    if (kind >= 0) ++cut.kind_size[static_cast<std::size_t>(kind)];
    cut.kind.push_back(kind);
  }
  // Two kinds may explain a recording, prefill and decode; more would be a patchwork.
  std::vector<std::size_t> of_kind(kinds.size(), 0);
  for (std::size_t i = 0; i < cut.kind.size(); ++i) {
    const int kind = cut.kind[i];
    if (kind < 0 || cut.kind_size[static_cast<std::size_t>(kind)] < 2) continue;
    of_kind[static_cast<std::size_t>(kind)] += begins[i + 1] - begins[i];
  }
  std::sort(of_kind.rbegin(), of_kind.rend());
  of_kind.resize(std::min<std::size_t>(of_kind.size(), 2));
  const auto repeated = std::accumulate(of_kind.begin(), of_kind.end(), std::size_t{0});
  cut.explained = static_cast<double>(repeated) / static_cast<double>(size);
  cut.begins = std::move(begins);
  return cut;
}

// Windows whose kinds follow each other in a short round (local and global attention, self and
// cross attention) are one step together.
void merge_rounds(Cut& cut) {
  const std::size_t windows = cut.kind.size();
  const auto recurs_after = [&](std::size_t distance) {
    std::size_t same = 0;
    for (std::size_t i = 0; i + distance < windows; ++i) {
      same += cut.kind[i] == cut.kind[i + distance];
    }
    return static_cast<double>(same) / static_cast<double>(windows - distance);
  };
  constexpr double kRegular = 0.9;
  for (std::size_t round = 1; round <= kMostKinds && 2 * round < windows; ++round) {
    if (recurs_after(round) < kRegular) continue;
    if (round == 1) return;
    std::vector<std::size_t> begins;
    for (std::size_t i = 0; i <= windows; i += round) begins.push_back(cut.begins[i]);
    cut.begins = std::move(begins);
    cut.kind.assign(cut.begins.size() - 1, 0);
    cut.kind_size = {cut.kind.size()};
    return;
  }
}

class StepFinder {
 public:
  StepFinder(const Timeline& timeline, const Classified& classified)
      : timeline_(timeline), classified_(classified) {}

  std::vector<Steps> find() {
    std::vector<Steps> found;
    for (const auto& sequence : sequences()) {
      for (auto& steps : steps_of(sequence)) found.push_back(std::move(steps));
    }
    return found;
  }

 private:
  std::vector<Sequence> sequences() const {
    std::map<std::pair<std::int32_t, std::int64_t>, double> busy;
    for (const auto& launch : timeline_.launches) {
      busy[{launch.device, launch.stream}] += launch.duration_ns;
    }
    std::map<std::int32_t, std::pair<double, std::int64_t>> busiest;
    for (const auto& [key, time] : busy) {
      auto& best = busiest[key.first];
      if (time >= best.first) best = {time, key.second};
    }
    std::map<std::string, std::uint32_t> ids;
    std::vector<std::uint32_t> symbol_of(timeline_.names.size(), kNoName);
    std::vector<Sequence> result;
    for (const auto& [device, best] : busiest) {
      result.emplace_back();
      result.back().device = device;
      result.back().stream = best.second;
    }
    for (std::size_t i = 0; i < timeline_.launches.size(); ++i) {
      const auto& launch = timeline_.launches[i];
      auto sequence = std::find_if(result.begin(), result.end(),
                                   [&](const Sequence& s) { return s.device == launch.device; });
      if (sequence->stream != launch.stream) continue;
      auto& symbol = symbol_of[launch.name];
      if (symbol == kNoName) {
        // Another tile of the same GEMM does not make another step.
        const auto& function = classified_.names[launch.name].function;
        symbol = ids.emplace(function, static_cast<std::uint32_t>(ids.size())).first->second;
      }
      sequence->at.push_back(i);
      sequence->symbol.push_back(symbol);
    }
    return result;
  }

  Part part(const Sequence& sequence, std::size_t i) const {
    return classified_.launches[sequence.at[i]].part;
  }

  std::vector<Steps> steps_of(const Sequence& sequence) {
    if (sequence.symbol.size() < 4) return {};
    auto cut = best_cut(sequence);
    if (!cut) {
      // Nothing repeats, but layers can be told by their attention: one step of unlike layers.
      for (std::size_t i = 0; i < sequence.symbol.size(); ++i) {
        const Part p = part(sequence, i);
        if (p == Part::kAttention || p == Part::kAttentionDense) {
          return {one_step_of_layers(sequence)};
        }
      }
      return {};
    }
    // Windows that hold one attention each, while embedding and sampling are rarer, are layers of a
    // single step; those of a layer that is run alone are steps of one layer.
    std::size_t whole_step = 0;
    for (std::size_t i = 0; i < sequence.symbol.size(); ++i) {
      const Part p = part(sequence, i);
      whole_step += p == Part::kEmbedding || p == Part::kSampling;
    }
    const std::size_t windows = cut->kind.size();
    if (whole_step > 0 && whole_step < windows / 2) return {one_step_of_layers(sequence)};
    merge_rounds(*cut);
    return by_phase(sequence, *cut);
  }

  std::optional<Cut> best_cut(const Sequence& sequence) const {
    std::vector<std::vector<std::size_t>> positions;
    for (std::size_t i = 0; i < sequence.symbol.size(); ++i) {
      const auto symbol = sequence.symbol[i];
      if (symbol >= positions.size()) positions.resize(symbol + 1);
      positions[symbol].push_back(i);
    }
    std::erase_if(positions, [&](const auto& calls) {
      return calls.size() < 2 || calls.size() > sequence.symbol.size() / 2;
    });
    const auto of_whole_step = [&](const std::vector<std::size_t>& calls) {
      const Part p = part(sequence, calls[0]);
      return p == Part::kSampling || p == Part::kEmbedding;
    };
    std::sort(positions.begin(), positions.end(), [&](const auto& a, const auto& b) {
      return std::tuple(!of_whole_step(a), a.size(), a[0]) <
             std::tuple(!of_whole_step(b), b.size(), b[0]);
    });
    if (positions.size() > kMostCandidates) positions.resize(kMostCandidates);
    for (auto& calls : positions) {
      auto cut = cut_at(sequence, calls, part(sequence, calls[0]) == Part::kSampling);
      if (cut.explained < kExplainedShare) continue;
      return earliest_with_as_many(sequence, positions, calls.size(), std::move(cut));
    }
    return std::nullopt;
  }

  // Of the kernels that recur as often, the first one in the sequence begins the step.
  static Cut earliest_with_as_many(const Sequence& sequence,
                                   const std::vector<std::vector<std::size_t>>& positions,
                                   std::size_t calls, Cut cut) {
    for (const auto& other : positions) {
      if (other.size() != calls || other[0] >= cut.begins[0]) continue;
      auto earlier = cut_at(sequence, other, false);
      if (earlier.explained >= cut.explained - 0.02) cut = std::move(earlier);
    }
    return cut;
  }

  double busy(const Sequence& sequence, std::size_t begin, std::size_t end) const {
    double sum = 0;
    for (std::size_t i = begin; i < end; ++i) {
      sum += timeline_.launches[sequence.at[i]].duration_ns;
    }
    return sum;
  }

  Phase phase_of(const Sequence& sequence, std::size_t begin, std::size_t end) const {
    std::array<int, 3> votes{};
    for (std::size_t i = begin; i < end; ++i) {
      ++votes[static_cast<std::size_t>(classified_.launches[sequence.at[i]].phase)];
    }
    if (votes[1] == 0 && votes[2] == 0) return Phase::kUnknown;
    return votes[1] > votes[2] ? Phase::kPrefill : Phase::kDecode;
  }

  std::vector<Steps> by_phase(const Sequence& sequence, const Cut& cut) {
    std::map<Phase, std::map<int, std::vector<std::size_t>>> kinds;
    std::map<Phase, std::size_t> all;
    for (std::size_t i = 0; i < cut.kind.size(); ++i) {
      const Phase phase = phase_of(sequence, cut.begins[i], cut.begins[i + 1]);
      ++all[phase];
      if (cut.kind[i] >= 0) kinds[phase][cut.kind[i]].push_back(i);
    }
    std::vector<Steps> found;
    for (auto& [phase, by_kind] : kinds) {
      const auto launches = [&](const std::vector<std::size_t>& windows) {
        std::size_t sum = 0;
        for (const auto i : windows) sum += cut.begins[i + 1] - cut.begins[i];
        return sum;
      };
      auto most = std::max_element(
          by_kind.begin(), by_kind.end(),
          [&](const auto& a, const auto& b) { return launches(a.second) < launches(b.second); });
      auto windows = most->second;
      if (windows.size() < 2 && phase == Phase::kUnknown) continue;
      drop_warm_up(sequence, cut, windows);
      found.push_back(measure(sequence, cut, windows, phase));
      found.back().left_out = all[phase] - windows.size();
    }
    return found;
  }

  // The first step of a recording often compiles, tunes or fills caches.
  void drop_warm_up(const Sequence& sequence, const Cut& cut,
                    std::vector<std::size_t>& windows) const {
    if (windows.size() < 4) return;
    std::vector<double> times;
    for (const auto i : windows) {
      times.push_back(busy(sequence, cut.begins[i], cut.begins[i + 1]));
    }
    const double usual = quantile(times, 0.5);
    std::size_t slow = 0;
    while (slow < windows.size() / 2 && times[slow] > kWarmUpFactor * usual) ++slow;
    windows.erase(windows.begin(), windows.begin() + static_cast<std::ptrdiff_t>(slow));
  }

  Window window_of(const Sequence& sequence, std::size_t begin, std::size_t end) const {
    return {sequence.at[begin], sequence.at[end - 1] + 1};
  }

  Steps measure(const Sequence& sequence, const Cut& cut, const std::vector<std::size_t>& windows,
                Phase phase) {
    Steps steps;
    steps.device = sequence.device;
    steps.stream = sequence.stream;
    steps.phase = phase;
    std::vector<double> spans;
    std::vector<double> times;
    std::vector<double> sizes;
    std::vector<double> layer_times;
    steps.layers = layers_in(sequence, cut, windows);
    for (const auto i : windows) {
      const std::size_t begin = cut.begins[i];
      const std::size_t end = cut.begins[i + 1];
      steps.steps.push_back(window_of(sequence, begin, end));
      double last = 0;
      for (std::size_t k = begin; k < end; ++k) {
        last = std::max(last, timeline_.launches[sequence.at[k]].end_ns());
      }
      spans.push_back(last - timeline_.launches[sequence.at[begin]].start_ns);
      times.push_back(busy(sequence, begin, end));
      sizes.push_back(static_cast<double>(end - begin));
      add_layers(sequence, begin, end, steps, layer_times);
    }
    steps.kernels = static_cast<std::size_t>(quantile(sizes, 0.5));
    steps.span_ns = Spread::of(std::move(spans));
    steps.busy_ns = Spread::of(std::move(times));
    steps.layer_ns = Spread::of(std::move(layer_times));
    return steps;
  }

  struct Mark {
    std::uint32_t symbol = 0;
    bool attention = false;  // only its calls in an attention part mark
  };

  bool is_attention(const Sequence& sequence, std::size_t i) const {
    const Part p = part(sequence, i);
    return p == Part::kAttention || p == Part::kAttentionDense;
  }

  bool marks(const Mark& mark, const Sequence& sequence, std::size_t i) const {
    return sequence.symbol[i] == mark.symbol && (!mark.attention || is_attention(sequence, i));
  }

  // The kernel that marks a layer: of the attention parts the one with the most time, else the one
  // with the most time of all that recur in the step.
  std::optional<Mark> layer_mark(const Sequence& sequence, std::size_t begin,
                                 std::size_t end) const {
    struct Candidate {
      double time = 0;
      int calls = 0;
    };
    std::map<std::pair<bool, std::uint32_t>, Candidate> candidates;
    for (std::size_t i = begin; i < end; ++i) {
      auto& candidate = candidates[{is_attention(sequence, i), sequence.symbol[i]}];
      candidate.time += timeline_.launches[sequence.at[i]].duration_ns;
      ++candidate.calls;
    }
    std::optional<Mark> best;
    double best_time = 0;
    for (const auto& [key, candidate] : candidates) {
      const auto [attention, symbol] = key;
      if (candidate.calls < 2 && !attention) continue;
      if (!best || std::tuple(attention, candidate.time) > std::tuple(best->attention, best_time)) {
        best = Mark{symbol, attention};
        best_time = candidate.time;
      }
    }
    return best;
  }

  std::size_t layers_in(const Sequence& sequence, const Cut& cut,
                        const std::vector<std::size_t>& windows) const {
    std::vector<double> counts;
    for (const auto i : windows) {
      const auto mark = layer_mark(sequence, cut.begins[i], cut.begins[i + 1]);
      if (!mark) continue;
      double count = 0;
      for (std::size_t k = cut.begins[i]; k < cut.begins[i + 1]; ++k) {
        count += marks(*mark, sequence, k);
      }
      counts.push_back(count);
    }
    return counts.empty() ? 0 : static_cast<std::size_t>(quantile(counts, 0.5));
  }

  // From mark to mark; what follows the last mark is left out, for it holds the end of the step.
  void add_layers(const Sequence& sequence, std::size_t begin, std::size_t end, Steps& steps,
                  std::vector<double>& times) const {
    const auto mark = layer_mark(sequence, begin, end);
    if (!mark) return;
    if (steps.layers == 1) {
      steps.layers_at.push_back(window_of(sequence, begin, end));
      times.push_back(busy(sequence, begin, end));
      return;
    }
    std::optional<std::size_t> previous;
    for (std::size_t i = begin; i < end; ++i) {
      if (!marks(*mark, sequence, i)) continue;
      if (previous) {
        steps.layers_at.push_back(window_of(sequence, *previous, i));
        times.push_back(busy(sequence, *previous, i));
      }
      previous = i;
    }
  }

  Steps one_step_of_layers(const Sequence& sequence) {
    Cut whole;
    whole.begins = {0, sequence.symbol.size()};
    whole.kind = {0};
    return measure(sequence, whole, {0}, phase_of(sequence, 0, sequence.symbol.size()));
  }

  const Timeline& timeline_;
  const Classified& classified_;
};

}  // namespace

Spread Spread::of(std::vector<double> values) {
  if (values.empty()) return {};
  Spread spread{.count = values.size()};
  spread.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  spread.median = quantile(values, 0.5);
  spread.p10 = quantile(values, 0.1);
  spread.p90 = quantile(std::move(values), 0.9);
  return spread;
}

std::vector<Steps> find_steps(const Timeline& timeline, const Classified& classified) {
  if (timeline.is_summary()) return {};
  return StepFinder(timeline, classified).find();
}

std::vector<Gaps> find_gaps(const Timeline& timeline) {
  struct Interval {
    double start;
    double end;
    double launched;
    bool kernel;
  };
  std::map<std::int32_t, std::vector<Interval>> devices;
  std::map<std::int32_t, std::pair<double, double>> bounds;
  for (const auto& launch : timeline.launches) {
    devices[launch.device].push_back({launch.start_ns, launch.end_ns(), launch.launched_ns, true});
    auto [found, is_new] =
        bounds.emplace(launch.device, std::pair(launch.start_ns, launch.end_ns()));
    if (!is_new) {
      found->second.first = std::min(found->second.first, launch.start_ns);
      found->second.second = std::max(found->second.second, launch.end_ns());
    }
  }
  for (const auto* list : {&timeline.copies, &timeline.fills}) {
    for (const auto& move : *list) {
      const auto bound = bounds.find(move.device);
      if (bound == bounds.end() || move.start_ns < bound->second.first ||
          move.end_ns() > bound->second.second) {
        continue;
      }
      devices[move.device].push_back({move.start_ns, move.end_ns(), move.launched_ns, false});
    }
  }
  std::vector<Gaps> result;
  for (auto& [device, intervals] : devices) {
    std::sort(intervals.begin(), intervals.end(),
              [](const Interval& a, const Interval& b) { return a.start < b.start; });
    Gaps gaps{.device = device};
    double end = intervals[0].start;
    for (const auto& interval : intervals) {
      if (interval.start > end) {
        ++gaps.gaps;
        gaps.idle_ns += interval.start - end;
        if (interval.kernel && !std::isnan(interval.launched)) {
          // What of the gap passed before the host had launched what ends it.
          gaps.launches_known = true;
          gaps.launch_ns += std::clamp(interval.launched - end, 0.0, interval.start - end);
        }
      }
      end = std::max(end, interval.end);
    }
    gaps.span_ns = end - intervals[0].start;
    gaps.busy_ns = gaps.span_ns - gaps.idle_ns;
    result.push_back(gaps);
  }
  return result;
}

}  // namespace dsaperf::trace
