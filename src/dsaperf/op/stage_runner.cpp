#include "dsaperf/op/stage_runner.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <vector>

namespace dsaperf::op {

using model::Stage;

Result<void> StageRunner::run(std::span<const Stage> stages) {
  for (const Stage stage : stages) {
    if (stage == Stage::kIndexerScores) {
      DSAPERF_TRY(select());  // scores and top-k, chunk by chunk
      continue;
    }
    if (stage == Stage::kTopk) continue;
    DSAPERF_TRY(timed(stage, [&] { return run(stage); }));
  }
  return {};
}

Result<void> StageRunner::run(Stage stage) {
  switch (stage) {
    case Stage::kQkvAProjection:
      return qkv_a_projection();
    case Stage::kNormRope:
      return norm_rope();
    case Stage::kQBProjection:
      return q_b_projection();
    case Stage::kAbsorb:
      return absorb();
    case Stage::kCacheWrite:
      return cache_write();
    case Stage::kIndexerProjection:
      return indexer_projection();
    case Stage::kIndexerQuantise:
      return indexer_quantise();
    case Stage::kIndexCacheWrite:
      return index_cache_write();
    case Stage::kAttention:
      return attention();
    case Stage::kVUp:
      return v_up();
    case Stage::kOProjection:
      return o_projection();
    case Stage::kIndexerScores:
    case Stage::kTopk:
      break;
  }
  return {};
}

Result<void> DsaLayer::enqueue(ForwardPass& pass, const CacheManager& cache,
                               Observer& observer) const {
  if (pass.tokens == 0) return {};
  return StageRunner(*this, pass, cache, observer).run(pass.stages);
}

bool DsaLayer::runs_with(Stage stage, std::span<const Stage> stages) {
  const auto asked = [&](Stage each) { return std::ranges::find(stages, each) != stages.end(); };
  const bool selects = stage == Stage::kIndexerScores || stage == Stage::kTopk;
  return selects ? asked(Stage::kIndexerScores) || asked(Stage::kTopk) : asked(stage);
}

Result<void> DsaLayer::enqueue_only(ForwardPass& pass, const CacheManager& cache,
                                    std::span<const Stage> stages, Observer& observer) const {
  for (const Stage stage : stages)
    if (std::ranges::find(pass.stages, stage) == pass.stages.end())
      return fail(Errc::kInvalidArgument, "the layer does not run stage {}", model::name(stage));
  if (pass.tokens == 0) return {};
  std::vector<Stage> some;  // in the order of the pass
  for (const Stage stage : pass.stages)
    if (runs_with(stage, stages)) some.push_back(stage);
  return StageRunner(*this, pass, cache, observer).run(some);
}

Result<void> DsaLayer::enqueue(ForwardPass& pass, const CacheManager& cache) const {
  Observer nobody;
  return enqueue(pass, cache, nobody);
}

Result<void> DsaLayer::run(ForwardPass& pass, const CacheManager& cache, Observer& observer) const {
  DSAPERF_TRY(enqueue(pass, cache, observer));
  DSAPERF_TRY(backend_->synchronise());
  return fetch_scores(pass);
}

Result<void> DsaLayer::run(ForwardPass& pass, const CacheManager& cache) const {
  Observer nobody;
  return run(pass, cache, nobody);
}

}  // namespace dsaperf::op
