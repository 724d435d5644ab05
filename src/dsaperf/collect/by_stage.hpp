#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/collect/journal.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// Layers put together from stages. Most stages don't see every axis of a plan: projections don't
// see the cache, the indexer neither the heads nor the cache, nothing but scores, top-k and
// attention sees the past. So each distinct stage is measured once, by itself, and layers are their
// sums.
namespace dsaperf::collect {

// Everything that the time of one stage of a case depends on: two stages with the same key are one
// measurement. Covers what cost knows a stage's work to depend on (by_stage_test.cpp holds it to
// that).
std::string stage_key(const Case& whole, model::Stage stage, const model::LayerPlan& layer);

struct StagePlan {
  // Cases that name the stages which no earlier one has measured.
  std::vector<Case> stage_cases;
  std::map<std::string, std::string> measured_by;  // stage_key -> id of the stage case
  // Layers measured whole beside, to see how far sums are off: a share of the plan drawn by `seed`,
  // at least one.
  std::vector<Case> checks;
};

// Fails with kInvalidArgument for cases that are launched eagerly: what the host takes between
// kernels is no stage's.
Result<StagePlan> plan_by_stage(std::span<const Case> cases, const model::LayerPlan& layer,
                                double check_share, std::uint64_t seed);

// What two stages that follow each other take less in a layer than each by itself: the launch and
// the start of the second stand beside the end of the first. One value for all of a run.
struct StageOverlap {
  Micros warm{};
  Micros cold{};
};

// Between what of its sum a layer lies that was not measured whole: log(sum / p10) and
// log(p90 / sum), neither below zero.
struct SumError {
  double below = 0;
  double above = 0;
};
struct SumErrors {
  SumError warm;
  SumError cold;
};

// What the layers of `plan.checks` that were measured whole say of sums.
class SumChecks {
 public:
  SumChecks(const StagePlan& plan, const model::LayerPlan& layer,
            const std::map<std::string, Entry>& entries);

  // The value that makes what the layers' sums are relatively off by, added up, least. The layer
  // `id` is left out, so that its own sum is a check. Zero where no other was measured.
  StageOverlap overlap_without(std::string_view id) const;

  // Of whole / sum, each sum by the overlap of the others, the tenth and the ninetieth percentile:
  // of the layers of a phase, since prefill runs into the power limit and decode does not; of all
  // where that has fewer than ten; and of fewer than ten in all the one farthest off, to both
  // sides. Empty where none was measured.
  std::optional<SumErrors> errors(perfdb::Phase phase) const;

 private:
  struct Layer {
    std::string id;
    perfdb::Phase phase;
    double boundaries;
    Micros whole_warm, sum_warm, whole_cold, sum_cold;
    double off_warm, off_cold;  // log(whole / sum by the overlap of the others)
  };
  std::vector<Layer> layers_;
};

// The sum of a layer's stages as they were measured for `plan`, less the overlap of each with the
// next; not less than the longest. Fails with kNotFound, naming the stage, where one failed or is
// missing. The card's state is that of the attention stage, whose kernel is kernel_source. Stage
// times are as measured; count is 0.
//
// p10 and p90 say where the layer itself would be: how far its stages' samples spread (together
// within one stage case, each case for itself) and how far sums are off, as squares added. Without
// `errors` nobody knows the latter, and both are the median.
Result<Measurement> compose(const Case& whole, const StagePlan& plan, const model::LayerPlan& layer,
                            const std::map<std::string, Entry>& entries,
                            const StageOverlap& overlap,
                            const std::optional<SumErrors>& errors = std::nullopt);

}  // namespace dsaperf::collect
