#include "dsaperf/perfdb/lint.hpp"

#include "dsaperf/perfdb/lint_findings.hpp"
#include "dsaperf/perfdb/row_spread.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>

namespace dsaperf::perfdb {
namespace {

using Rows = std::vector<std::size_t>;

class Linter {
 public:
  Linter(const DsaTable& table, const LintPhysics& physics, const LintLimits& limits)
      : table_(table), physics_(physics), limits_(limits), findings_(table) {
    for (const auto& slice : table.slices) topk_.push_back(physics.topk(slice));
    number_groups();
  }

  std::vector<LintFinding> run() {
    check_each();
    check_repeats();
    check_shared();
    check_axis(LintRule::kFasterWithMorePast, &DsaRow::past_tokens);
    check_axis(LintRule::kFasterWithMoreNew, &DsaRow::new_tokens);
    check_axis(LintRule::kFasterWithMoreBatch, &DsaRow::batch);
    check_launch_floor();
    return findings_.take();
  }

 private:
  using Key = std::array<std::int32_t, 5>;  // a number, then heads, batch, new and past tokens

  Key key(std::int32_t number, std::size_t index) const {
    const auto& sizes = row(index);
    return {number, sizes.heads, sizes.batch, sizes.new_tokens, sizes.past_tokens};
  }
  const DsaRow& row(std::size_t index) const { return table_.rows[index]; }
  const DsaSlice& slice_of(std::size_t index) const {
    return table_.slices[static_cast<std::size_t>(row(index).slice)];
  }
  double latency(std::size_t index) const { return row(index).latency.value; }
  bool sparse(std::size_t index) const {
    return row(index).total() > topk_[static_cast<std::size_t>(row(index).slice)];
  }

  // Slices that differ in the kernel, in the checkpoint of an architecture (GLM-5 and 5.2) or in
  // whether the selection is shared are compared with each other: they share a number.
  void number_groups() {
    std::map<std::tuple<std::string, std::string, std::string, std::string>, std::int32_t> numbers;
    for (const auto& slice : table_.slices) {
      const auto key =
          std::tuple(slice.architecture, slice.mla_dtype, slice.kv_dtype, slice.gemm_dtype);
      group_.push_back(
          numbers.emplace(key, static_cast<std::int32_t>(numbers.size())).first->second);
    }
    for (std::size_t i = 0; i < table_.rows.size(); ++i) {
      if (row(i).source == 0 && std::isfinite(latency(i)) && latency(i) > 0) usable_.push_back(i);
    }
  }
  std::int32_t group(std::size_t index) const {
    return group_[static_cast<std::size_t>(row(index).slice)];
  }

  void check_each() {
    for (std::size_t i = 0; i < table_.rows.size(); ++i) {
      if (row(i).source != 0) continue;
      findings_.looked_at(LintRule::kUnusableLatency, i);
      if (!std::isfinite(latency(i)) || latency(i) <= 0) {
        findings_.add(LintRule::kUnusableLatency, i, 0);
      } else if (const auto bound = physics_.bound(slice_of(i), table_.phase, row(i))) {
        findings_.looked_at(LintRule::kBelowBound, i);
        const double ratio = latency(i) / bound->value;
        if (ratio < 1) findings_.add(LintRule::kBelowBound, i, ratio);
      }
    }
  }

  void check_repeats() {
    std::map<Key, std::size_t> first;
    for (const auto i : usable_) {
      findings_.looked_at(LintRule::kRepeatedKey, i);
      const auto [found, is_new] = first.emplace(key(row(i).slice, i), i);
      if (!is_new) findings_.add(LintRule::kRepeatedKey, i, latency(i) / latency(found->second));
    }
  }

  void check_shared() {
    std::map<Key, std::size_t> full;
    std::map<Key, std::size_t> shared;
    for (const auto i : usable_) {
      (slice_of(i).shares_selection ? shared : full)[key(group(i), i)] = i;
    }
    for (const auto& [sizes, i] : shared) {
      const auto other = full.find(sizes);
      if (other == full.end() || !sparse(i)) continue;
      // Below topk new tokens launches hide what the indexer costs.
      const auto tokens = std::int64_t{row(i).batch} * row(i).new_tokens;
      if (table_.phase == Phase::kContext && tokens < topk_[static_cast<std::size_t>(row(i).slice)])
        continue;
      findings_.looked_at(LintRule::kSharedSlowerThanFull, i);
      const double ratio = latency(i) / latency(other->second);
      if (ratio > limits_.slower_shared) {
        findings_.add(LintRule::kSharedSlowerThanFull, i, ratio);
      }
    }
  }

  // Rows that differ in one size alone, in order of it: `visit` sees each line of the grid. Repeats
  // count once, the last one.
  template <typename Visit>
  void for_each_line(std::int32_t DsaRow::* axis, Visit visit) const {
    std::map<Key, std::map<std::int32_t, std::size_t>> lines;
    for (const auto i : usable_) {
      auto others = key(2 * group(i) + (slice_of(i).shares_selection ? 1 : 0), i);
      if (axis == &DsaRow::batch) others[2] = 0;
      if (axis == &DsaRow::new_tokens) others[3] = 0;
      if (axis == &DsaRow::past_tokens) others[4] = 0;
      lines[others][row(i).*axis] = i;
    }
    for (const auto& [others, points] : lines) {
      Rows line;
      line.reserve(points.size());
      for (const auto& [size, i] : points) line.push_back(i);
      visit(line);
    }
  }

  void check_axis(LintRule rule, std::int32_t DsaRow::* axis) {
    for_each_line(axis, [&](const Rows& line) {
      for (std::size_t k = 1; k < line.size(); ++k) {
        const auto before = line[k - 1];
        const auto now = line[k];
        findings_.looked_at(rule, now);
        const double ratio = latency(now) / latency(before);
        if (clearly_faster(now, before)) findings_.add(rule, now, ratio);
        check_jump(before, now, ratio);
        if (axis != &DsaRow::past_tokens) continue;
        if (!sparse(before) && sparse(now)) {
          findings_.looked_at(LintRule::kStepAtTopk, now);
          if (ratio > limits_.step_at_topk) findings_.add(LintRule::kStepAtTopk, now, ratio);
        }
        if (k + 1 < line.size()) check_spike(before, now, line[k + 1]);
      }
    });
  }

  bool clearly_faster(std::size_t now, std::size_t other) const {
    const double limit = limits_.faster_with_more;
    return latency(now) / latency(other) <
           limit / spread_factor(row(other), row(now), limit, limits_.spreads);
  }

  // Every stage's work grows at most with the product of what a row has more of: tokens, and tokens
  // that each of them sees.
  void check_jump(std::size_t before, std::size_t now, double ratio) {
    if (sparse(before) != sparse(now)) return;
    const auto growth = [&](std::int64_t a, std::int64_t b) {
      return static_cast<double>(b) / static_cast<double>(std::max<std::int64_t>(a, 1));
    };
    const auto& from = row(before);
    const auto& to = row(now);
    const double work =
        growth(std::int64_t{from.batch} * from.new_tokens, std::int64_t{to.batch} * to.new_tokens) *
        growth(from.total(), to.total());
    findings_.looked_at(LintRule::kJump, now);
    if (ratio > limits_.jump * work) findings_.add(LintRule::kJump, now, ratio / work);
  }

  void check_spike(std::size_t before, std::size_t now, std::size_t after) {
    findings_.looked_at(LintRule::kSpike, now);
    const double mean = (latency(before) + latency(after)) / 2;
    const double ratio = latency(now) / mean;
    if (ratio > limits_.spike && clearly_faster(after, now)) {
      findings_.add(LintRule::kSpike, now, ratio);
    }
  }

  void check_launch_floor() {
    constexpr int kSmall = 64;  // tokens: what the GPU does with these takes microseconds
    std::map<std::tuple<std::int32_t, bool>, Rows> small;
    for (const auto i : usable_) {
      const auto tokens = std::int64_t{row(i).batch} * row(i).new_tokens;
      if (table_.phase != Phase::kContext || row(i).batch != 1 || tokens > kSmall) continue;
      findings_.looked_at(LintRule::kLaunchFloor, i);
      small[{row(i).slice, sparse(i)}].push_back(i);
    }
    for (const auto& [key, rows] : small) {
      std::vector<double> latencies;
      std::vector<double> over_bound;
      for (const auto i : rows) {
        latencies.push_back(latency(i));
        const auto bound = physics_.bound(slice_of(i), table_.phase, row(i));
        if (bound && bound->value > 0) over_bound.push_back(latency(i) / bound->value);
      }
      const double flatness = quantile(latencies, 0.9) / quantile(latencies, 0.1);
      const double excess = quantile(over_bound, 0.5);
      if (flatness > limits_.floor_flatness || excess < limits_.floor_over_bound) continue;
      for (const auto i : rows) findings_.add(LintRule::kLaunchFloor, i, excess);
    }
  }

  const DsaTable& table_;
  const LintPhysics& physics_;
  const LintLimits& limits_;
  Findings findings_;
  std::vector<int> topk_;            // by slice
  std::vector<std::int32_t> group_;  // by slice
  Rows usable_;
};

}  // namespace

std::string_view name(LintRule rule) {
  switch (rule) {
    case LintRule::kUnusableLatency:
      return "unusable_latency";
    case LintRule::kRepeatedKey:
      return "repeated_key";
    case LintRule::kBelowBound:
      return "below_bound";
    case LintRule::kSharedSlowerThanFull:
      return "shared_slower_than_full";
    case LintRule::kFasterWithMorePast:
      return "faster_with_more_past";
    case LintRule::kFasterWithMoreNew:
      return "faster_with_more_new";
    case LintRule::kFasterWithMoreBatch:
      return "faster_with_more_batch";
    case LintRule::kSpike:
      return "spike";
    case LintRule::kLaunchFloor:
      return "launch_floor";
    case LintRule::kJump:
      return "jump";
    case LintRule::kStepAtTopk:
      return "step_at_topk";
    case LintRule::kOutOfProportion:
      return "out_of_proportion";
  }
  return "unknown";
}

std::string_view meaning(LintRule rule) {
  switch (rule) {
    case LintRule::kUnusableLatency:
      return "latency is zero, negative or not finite";
    case LintRule::kRepeatedKey:
      return "an earlier row has the same key; readers keep one of them";
    case LintRule::kBelowBound:
      return "faster than the card's peak rates allow";
    case LintRule::kSharedSlowerThanFull:
      return "a layer that reuses a selection is slower than one that makes its own";
    case LintRule::kFasterWithMorePast:
      return "more cached tokens, less time";
    case LintRule::kFasterWithMoreNew:
      return "more new tokens, less time";
    case LintRule::kFasterWithMoreBatch:
      return "more requests, less time";
    case LintRule::kSpike:
      return "above both neighbours: no size explains it";
    case LintRule::kLaunchFloor:
      return "counts host launches, not GPU work: flat over tokens, far above the bound";
    case LintRule::kJump:
      return "grows faster than its work, away from topk";
    case LintRule::kOutOfProportion:
      return "no rate of the two cards explains the ratio to the sibling's row";
    case LintRule::kStepAtTopk:
      return "selection begins: do not interpolate across";
  }
  return "unknown";
}

bool is_note(LintRule rule) {
  return rule == LintRule::kStepAtTopk;
}

std::vector<LintFinding> lint(const DsaTable& table, const LintPhysics& physics,
                              const LintLimits& limits) {
  return Linter(table, physics, limits).run();
}

}  // namespace dsaperf::perfdb
