#include "dsaperf/collect/collector.hpp"

#include "dsaperf/collect/by_stage.hpp"
#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <thread>

namespace dsaperf::collect {
namespace {

// Whether the cap may be what an earlier case left: the card lowers its clocks for some tens of
// milliseconds after a long prompt, and short passes are over by then.
bool maybe_left_by_another(const Measurement& measurement) {
  constexpr Micros kShortPass{1000};
  return measurement.card.power_capped() && measurement.warm.median < kShortPass;
}

// Takes a case until a measurement is undisturbed or the retries are used up; then the last error
// or the fact that the card never was quiet is the result. A short pass at the power cap is taken
// once more after a pause: still at the cap, it is its own load.
Entry measured(TimingSource& source, const Case& what, const CollectOptions& options) {
  Entry entry{.what = what};
  bool paused = false;
  for (int attempt = 0; attempt <= options.disturbed_retries; ++attempt) {
    ++entry.attempts;
    auto result = source.measure(what);
    if (!result) {
      entry.error = result.error().message();
      return entry;
    }
    if (!result->disturbed()) {
      const bool again = !paused && maybe_left_by_another(*result);
      if (paused && !result->card.power_capped()) ++entry.disturbed;  // the one before was
      entry.error.clear();
      entry.measurement = *std::move(result);
      if (!again) return entry;
      paused = true;
      std::this_thread::sleep_for(options.pause_at_cap);
      continue;
    }
    ++entry.disturbed;
    entry.measurement = {};
    entry.error = fmt::format("the card was slowed down in each of {} attempts ({})",
                              entry.attempts, fmt::join(result->card.throttle_reasons, ", "));
  }
  return entry;
}

class Run {
 public:
  Run(Journal& journal, const CollectOptions& options, const CollectWatcher& watcher)
      : journal_(journal), options_(options), watcher_(watcher) {}

  void plan(std::vector<Entry> todo) {
    todo_ = std::move(todo);
    next_ = 0;
  }

  // Works through the list with one thread a source.
  Result<void> work(const std::vector<std::unique_ptr<TimingSource>>& sources) {
    std::vector<std::jthread> threads;
    for (std::size_t i = 1; i < sources.size(); ++i) {
      threads.emplace_back([this, &source = *sources[i]] { work_with(source); });
    }
    work_with(*sources.front());
    threads.clear();  // joins
    if (stopped_by_) return tl::unexpected<Error>(*std::move(stopped_by_));
    return {};
  }

  CollectReport report;

 private:
  void work_with(TimingSource& source) {
    while (true) {
      std::optional<Entry> earlier;
      {
        const std::lock_guard lock(mutex_);
        if (stopped_by_ || next_ == todo_.size()) return;
        earlier = todo_[next_++];
      }
      record(*earlier, measured(source, earlier->what, options_));
    }
  }

  void record(const Entry& earlier, Entry now) {
    const std::lock_guard lock(mutex_);
    report.disturbed += now.disturbed;
    // A second look keeps the first measurement and stores how far it was off.
    const bool repeats = earlier.attempts > 0 && earlier.error.empty();
    auto kind = now.error.empty() ? CollectEvent::Kind::kMeasured : CollectEvent::Kind::kFailed;
    std::string error = now.error;
    if (repeats) {
      kind = CollectEvent::Kind::kRepeated;
      Entry kept = earlier;
      if (now.error.empty()) {
        kept.repeat_ratio = now.measurement.warm.median / earlier.measurement.warm.median;
      }
      kept.attempts += now.attempts;
      kept.disturbed += now.disturbed;
      now = std::move(kept);
    }
    if (auto written = journal_.append(now); !written) {
      if (!stopped_by_) stopped_by_ = std::move(written).error();
      return;
    }
    if (kind == CollectEvent::Kind::kMeasured) ++report.measured;
    if (kind == CollectEvent::Kind::kRepeated) ++report.repeated;
    if (watcher_) watcher_({.kind = kind, .what = now.what, .error = std::move(error)});
  }

  Journal& journal_;
  const CollectOptions& options_;
  const CollectWatcher& watcher_;
  std::mutex mutex_;
  std::vector<Entry> todo_;
  std::size_t next_ = 0;
  std::optional<Error> stopped_by_;
};

// A random share of what is measured and not yet repeated; the same for the same seed.
std::vector<Entry> to_repeat(std::span<const Case> cases, const Journal& journal,
                             const CollectOptions& options) {
  std::vector<Entry> good;
  std::size_t repeated = 0;
  for (const auto& what : cases) {
    const auto found = journal.entries().find(what.id());
    if (found == journal.entries().end() || !found->second.error.empty()) continue;
    if (found->second.repeat_ratio > 0) {
      ++repeated;
    } else {
      good.push_back(found->second);
    }
  }
  const auto wanted = static_cast<std::size_t>(
      std::ceil(options.repeat_share * static_cast<double>(good.size() + repeated)));
  const auto drawn = std::min(good.size(), wanted > repeated ? wanted - repeated : 0);
  // In the order of the plan: cases that share a layer stay together.
  std::vector<Entry> chosen;
  std::mt19937_64 random(options.seed);
  std::ranges::sample(good, std::back_inserter(chosen), static_cast<std::ptrdiff_t>(drawn), random);
  return chosen;
}

double median(std::vector<double> values) {
  if (values.empty()) return 0;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

// What of `cases` is to be measured now. A sum of stages is no measurement.
std::vector<Entry> to_measure(std::span<const Case> cases, const Journal& journal,
                              const CollectOptions& options, const CollectWatcher& watcher,
                              CollectReport& report) {
  std::vector<Entry> todo;
  for (const auto& what : cases) {
    const auto found = journal.entries().find(what.id());
    const bool known = found != journal.entries().end() && !found->second.composed;
    if (known && (found->second.error.empty() || !options.retry_failed)) {
      ++report.found;
      if (watcher) watcher({.kind = CollectEvent::Kind::kFound, .what = what, .error = {}});
    } else {
      todo.push_back(Entry{.what = what});
    }
  }
  return todo;
}

std::size_t rows_of(std::span<const Case> cases, const Journal& journal) {
  return static_cast<std::size_t>(std::ranges::count_if(cases, [&](const Case& what) {
    const auto found = journal.entries().find(what.id());
    return found != journal.entries().end() && found->second.error.empty();
  }));
}

// What the journal says of `cases` once all is done.
void sum_up(std::span<const Case> cases, const Journal& journal, CollectReport& report) {
  std::vector<double> deviations;
  std::vector<double> errors;
  for (const auto& what : cases) {
    const auto found = journal.entries().find(what.id());
    if (found == journal.entries().end()) continue;
    const auto& entry = found->second;
    if (!entry.error.empty()) report.failures.push_back(what.id() + ": " + entry.error);
    if (entry.repeat_ratio > 0) deviations.push_back(std::abs(entry.repeat_ratio - 1));
    if (entry.composed) ++report.composed;
    if (!entry.composed && entry.error.empty() && entry.composed_warm.value > 0) {
      errors.push_back(std::abs(entry.composed_warm / entry.measurement.warm.median - 1));
    }
  }
  report.failed = report.failures.size();
  report.repeat_spread = median(std::move(deviations));
  report.checked = errors.size();
  if (!errors.empty()) report.composed_worst = std::ranges::max(errors);
  report.composed_error = median(std::move(errors));
}

bool same_spread(const Summary& a, const Summary& b) {
  return a.p10 == b.p10 && a.p90 == b.p90;
}

// Writes the sum of each layer into the journal: as its row, or beside the row where it was
// measured whole. A layer with a missing stage is recorded as failed.
Result<void> write_sums(std::span<const Case> cases, const StagePlan& plan,
                        const model::LayerPlan& layer, Journal& journal,
                        const CollectWatcher& watcher, CollectReport& report) {
  const SumChecks checks(plan, layer, journal.entries());
  const auto usual = checks.overlap_without({});
  const std::map<perfdb::Phase, std::optional<SumErrors>> errors = {
      {perfdb::Phase::kContext, checks.errors(perfdb::Phase::kContext)},
      {perfdb::Phase::kGeneration, checks.errors(perfdb::Phase::kGeneration)}};
  report.overlap = usual.warm;
  std::vector<Entry> sums;
  for (const auto& what : cases) {
    const auto id = what.id();
    const auto found = journal.entries().find(id);
    const bool known = found != journal.entries().end();
    Entry entry = known ? found->second : Entry{.what = what};
    const bool whole = known && !entry.composed && entry.error.empty();
    auto sum = compose(what, plan, layer, journal.entries(),
                       whole ? checks.overlap_without(id) : usual, errors.at(what.phase));
    if (!sum) {
      if (whole || (known && entry.error == sum.error().message())) continue;
      entry = {.what = what, .error = sum.error().message(), .composed = true};
    } else {
      const bool same = known && entry.composed_warm == sum->warm.median &&
                        entry.composed_cold == sum->cold.median && entry.error.empty() &&
                        (whole || (same_spread(entry.measurement.warm, sum->warm) &&
                                   same_spread(entry.measurement.cold, sum->cold)));
      if (same) continue;
      entry.composed_warm = sum->warm.median;
      entry.composed_cold = sum->cold.median;
      if (!whole) {
        entry.composed = true;
        entry.error.clear();
        entry.measurement = *std::move(sum);
      }
    }
    sums.push_back(std::move(entry));
  }
  DSAPERF_TRY(journal.append(sums));
  for (const auto& sum : sums) {
    if (watcher)
      watcher({.kind = CollectEvent::Kind::kComposed, .what = sum.what, .error = sum.error});
  }
  return {};
}

// What is not there yet, then a share of it again.
Result<void> measure(std::span<const Case> cases,
                     const std::vector<std::unique_ptr<TimingSource>>& sources, Journal& journal,
                     const CollectOptions& options, const CollectWatcher& watcher, Run& run) {
  run.report.planned = cases.size();
  run.plan(to_measure(cases, journal, options, watcher, run.report));
  DSAPERF_TRY(run.work(sources));
  run.plan(to_repeat(cases, journal, options));
  return run.work(sources);
}

}  // namespace

Result<CollectReport> collect(std::span<const Case> cases,
                              const std::vector<std::unique_ptr<TimingSource>>& sources,
                              Journal& journal, const CollectOptions& options,
                              const CollectWatcher& watcher) {
  if (sources.empty()) return fail(Errc::kInvalidArgument, "nothing to measure with");
  Run run(journal, options, watcher);
  DSAPERF_TRY(measure(cases, sources, journal, options, watcher, run));
  sum_up(cases, journal, run.report);
  run.report.rows = rows_of(cases, journal);
  return run.report;
}

Result<CollectReport> collect_by_stage(std::span<const Case> cases, const model::LayerPlan& layer,
                                       const std::vector<std::unique_ptr<TimingSource>>& sources,
                                       Journal& journal, const CollectOptions& options,
                                       const CollectWatcher& watcher) {
  if (sources.empty()) return fail(Errc::kInvalidArgument, "nothing to measure with");
  DSAPERF_TRY_ASSIGN(const auto plan,
                     plan_by_stage(cases, layer, options.check_share, options.seed));
  auto measured = plan.stage_cases;
  measured.insert(measured.end(), plan.checks.begin(), plan.checks.end());

  Run run(journal, options, watcher);
  DSAPERF_TRY(measure(measured, sources, journal, options, watcher, run));
  DSAPERF_TRY(write_sums(cases, plan, layer, journal, watcher, run.report));

  auto all = plan.stage_cases;
  all.insert(all.end(), cases.begin(), cases.end());
  sum_up(all, journal, run.report);
  run.report.rows = rows_of(cases, journal);
  return run.report;
}

}  // namespace dsaperf::collect
