#pragma once

#include "dsaperf/collect/journal.hpp"
#include "dsaperf/collect/plan.hpp"
#include "dsaperf/collect/timing_source.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace dsaperf::collect {

struct CollectOptions {
  int disturbed_retries = 2;  // measurements taken again because the card was slowed down
  std::chrono::milliseconds pause_at_cap{100};  // before a short pass is taken again for it
  bool retry_failed = false;                    // measure cases again whose last result is an error
  double repeat_share = 0.02;                   // measured a second time at the end of the run
  double check_share = 0.05;                    // of composed layers: measured whole as well
  std::uint64_t seed = 1;                       // which ones
};

struct CollectReport {
  std::size_t planned = 0;   // to be measured
  std::size_t found = 0;     // in the journal already
  std::size_t measured = 0;  // now
  std::size_t failed = 0;    // now, or still from before
  std::size_t rows = 0;      // cases asked for that have a result, from now or from before
  int disturbed = 0;         // measurements thrown away now
  std::size_t repeated = 0;
  double repeat_spread = 0;   // median of |second / first - 1|; 0 without repeats
  std::size_t composed = 0;   // layers that are sums of stages
  std::size_t checked = 0;    // layers measured whole that have a sum beside them
  Micros overlap{};           // warm, of two stages that follow each other: taken off the sums
  double composed_error = 0;  // of them, warm: median of |sum / whole - 1| ...
  double composed_worst = 0;  // ... and the largest
  std::vector<std::string> failures;  // "id: reason"
};

// What a watcher hears of each case. Called under a lock, from the thread that measured.
struct CollectEvent {
  enum class Kind { kFound, kMeasured, kFailed, kRepeated, kComposed } kind = Kind::kMeasured;
  const Case& what;
  std::string error = {};
};
using CollectWatcher = std::function<void(const CollectEvent&)>;

// Measures the cases that the journal does not hold yet, each on disk before its source
// gets the next one. One thread a source (a source is one GPU), all taking from one queue. A case
// that fails is recorded and skipped; an error of the journal (a full disk) ends the run and is
// returned, with everything before it kept.
Result<CollectReport> collect(std::span<const Case> cases,
                              const std::vector<std::unique_ptr<TimingSource>>& sources,
                              Journal& journal, const CollectOptions& options,
                              const CollectWatcher& watcher);

// The same for layers that are put together from stages (by_stage.hpp): measures each distinct
// stage of `cases`, a share of the layers whole, and writes the sums as composed rows. A layer that
// the journal holds measured keeps its measurement.
Result<CollectReport> collect_by_stage(std::span<const Case> cases, const model::LayerPlan& layer,
                                       const std::vector<std::unique_ptr<TimingSource>>& sources,
                                       Journal& journal, const CollectOptions& options,
                                       const CollectWatcher& watcher);

}  // namespace dsaperf::collect
