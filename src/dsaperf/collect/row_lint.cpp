#include "dsaperf/collect/row_lint.hpp"

#include "dsaperf/collect/gemm_plan.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/bound.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::collect {
namespace {

// Above every clock of these generations: SMs boost to 2.0 ... 2.6 GHz, HBM3e runs at up to 4 GHz.
constexpr int kHighestSmMhz = 3000;
constexpr int kHighestMemoryMhz = 5000;
constexpr double kClockTolerance = 0.1;
constexpr double kWidestInterval = 0.05;
constexpr double kWidestSum = 0.1;  // from the median of a sum of stages to its p10 or p90
// Noting a time between stages costs what is taken off again; what is left of it may add up. And a
// stage by itself does not begin while the one before it ends, as in the replay of a graph: in the
// tables of h200_sxm, of layers below 200 us, 1.1 ... 1.8 us a stage (5th to 95th percentile). At
// its power limit the card runs the layer and its stages at clocks of their own: 1.20 at worst
// there.
constexpr double kStagesOverWhole = 1.1;
constexpr double kStagesOverWholeAtPowerCap = 1.25;
constexpr double kStageApartUs = 2;

int median_sm_mhz(const std::map<std::string, Entry>& entries) {
  std::vector<int> clocks;
  for (const auto& [id, entry] : entries) {
    if (entry.error.empty() && !entry.composed) clocks.push_back(entry.measurement.card.sm_mhz);
  }
  if (clocks.empty()) return 0;
  const auto middle = clocks.begin() + static_cast<std::ptrdiff_t>(clocks.size() / 2);
  std::ranges::nth_element(clocks, middle);
  return *middle;
}

bool positive(Micros time) {
  return std::isfinite(time.value) && time.value > 0;
}

bool in_order(const Summary& summary) {
  return positive(summary.p10) && positive(summary.median) && positive(summary.p90) &&
         summary.p10 <= summary.median && summary.median <= summary.p90;
}

class RowLinter {
 public:
  RowLinter(const std::map<std::string, Entry>& entries, std::string_view method,
            const cost::SystemSpec* card)
      : entries_(entries),
        has_card_(method != kCpuMethod),
        card_(card),
        usual_mhz_(median_sm_mhz(entries)) {}

  std::vector<RowFinding> run() {
    for (const auto& [id, entry] : entries_) {
      if (!entry.error.empty()) continue;
      check_times(id, entry.measurement);
      if (entry.composed) check_sum(id, entry.measurement);
      if (!entry.composed) check_stages(id, entry.measurement);
      if (has_card_ && !entry.composed) check_card(id, entry.measurement);
      if (entry.what.product) check_product(id, entry);
    }
    std::vector<RowFinding> result;
    for (auto& [rule, rows] : found_) result.push_back({rule, std::move(rows)});
    return result;
  }

 private:
  void add(RowRule rule, const std::string& id, std::string value) {
    found_[rule].push_back(fmt::format("{}: {}", id, value));
  }

  void check_times(const std::string& id, const Measurement& row) {
    for (const auto& [state, summary] : {std::pair{"warm", row.warm}, {"cold", row.cold}}) {
      if (!in_order(summary)) {
        add(RowRule::kDisorder, id,
            fmt::format("{} {:.3f} <= {:.3f} <= {:.3f} us", state, summary.p10.value,
                        summary.median.value, summary.p90.value));
      }
      if (summary.ci95 > kWidestInterval) {
        add(RowRule::kUnsure, id, fmt::format("{} ±{:.1f} %", state, 100 * summary.ci95));
      }
    }
    if (row.kernel_source.empty() && std::ranges::any_of(row.stages, [](const StageTime& stage) {
          return stage.stage == model::Stage::kAttention;
        })) {
      add(RowRule::kNoEvidence, id, "kernel_source is empty");
    }
  }

  void check_sum(const std::string& id, const Measurement& row) {
    for (const auto& [state, sum] : {std::pair{"warm", row.warm}, {"cold", row.cold}}) {
      const double below = 1 - sum.p10 / sum.median;
      const double above = sum.p90 / sum.median - 1;
      if (std::max(below, above) > kWidestSum) {
        add(RowRule::kUnsure, id,
            fmt::format("{} sum -{:.1f} +{:.1f} %", state, 100 * below, 100 * above));
      }
    }
  }

  // Of a layer that was measured: a sum was made of its stages, less what they overlap
  // (by_stage.hpp), so that the two agree whatever was measured.
  void check_stages(const std::string& id, const Measurement& row) {
    Micros sum;
    for (const auto& stage : row.stages) sum += stage.time;
    const double share = row.card.power_capped() ? kStagesOverWholeAtPowerCap : kStagesOverWhole;
    const double allowed_us =
        share * row.warm.median.value + kStageApartUs * static_cast<double>(row.stages.size());
    if (sum.value > allowed_us) {
      add(RowRule::kStagesAboveWhole, id,
          fmt::format("{:.2f} of {:.2f} us", sum.value, row.warm.median.value));
    }
  }

  // x and y may stay in the L2 from one call to the next; weights don't (gemm_timing.hpp).
  void check_product(const std::string& id, const Entry& entry) {
    if (entry.measurement.kernel_source.empty()) {
      add(RowRule::kNoEvidence, id, "kernel_source is empty");
    }
    if (card_ == nullptr) return;
    auto cost = gemm_cost(*entry.what.product, entry.what.gemm);
    cost.traffic.activations = 0;
    const auto least = cost::bound(cost, *card_).time();
    const auto warm = entry.measurement.warm.median;
    if (warm < least) {
      add(RowRule::kBelowBound, id, fmt::format("{:.2f} of {:.2f} us", warm.value, least.value));
    }
  }

  void check_card(const std::string& id, const Measurement& row) {
    const auto& card = row.card;
    if (card.sm_mhz <= 0 || card.sm_mhz > kHighestSmMhz || card.memory_mhz <= 0 ||
        card.memory_mhz > kHighestMemoryMhz) {
      add(RowRule::kImpossibleClock, id,
          fmt::format("SM {} MHz, memory {} MHz", card.sm_mhz, card.memory_mhz));
    } else if (!card.power_capped() &&
               std::abs(card.sm_mhz - usual_mhz_) > kClockTolerance * usual_mhz_) {
      add(RowRule::kOtherClock, id, fmt::format("SM {} MHz, else {} MHz", card.sm_mhz, usual_mhz_));
    }
    if (row.disturbed()) {
      add(RowRule::kSlowedDown, id, fmt::format("{}", fmt::join(card.throttle_reasons, ", ")));
    }
  }

  const std::map<std::string, Entry>& entries_;
  bool has_card_;
  const cost::SystemSpec* card_;
  int usual_mhz_;
  std::map<RowRule, std::vector<std::string>> found_;
};

}  // namespace

std::string_view name(RowRule rule) {
  switch (rule) {
    case RowRule::kImpossibleClock:
      return "impossible_clock";
    case RowRule::kOtherClock:
      return "other_clock";
    case RowRule::kSlowedDown:
      return "slowed_down";
    case RowRule::kDisorder:
      return "disorder";
    case RowRule::kUnsure:
      return "unsure";
    case RowRule::kStagesAboveWhole:
      return "stages_above_whole";
    case RowRule::kNoEvidence:
      return "no_evidence";
    case RowRule::kBelowBound:
      return "below_bound";
  }
  return "unknown";
}

std::string_view meaning(RowRule rule) {
  switch (rule) {
    case RowRule::kImpossibleClock:
      return "a clock that no card has";
    case RowRule::kOtherClock:
      return "the SM clock is not that of the other rows";
    case RowRule::kSlowedDown:
      return "the card was slowed down while this was measured";
    case RowRule::kDisorder:
      return "times are not positive, or p10 <= median <= p90 does not hold";
    case RowRule::kUnsure:
      return "the median's 95 % interval, or what a sum of stages is off by, is wide";
    case RowRule::kStagesAboveWhole:
      return "the stages take longer than the layer";
    case RowRule::kNoEvidence:
      return "no kernel was seen that did the attention, or that multiplied";
    case RowRule::kBelowBound:
      return "a product faster than the card's peak rates allow";
  }
  return "unknown";
}

bool is_note(RowRule rule) {
  return rule == RowRule::kOtherClock || rule == RowRule::kUnsure;
}

std::vector<RowFinding> lint_rows(const std::map<std::string, Entry>& entries,
                                  std::string_view method, const cost::SystemSpec* card) {
  return RowLinter(entries, method, card).run();
}

}  // namespace dsaperf::collect
