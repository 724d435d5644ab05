#pragma once

#include "dsaperf/collect/case.hpp"
#include "dsaperf/core/error.hpp"
#include "dsaperf/core/units.hpp"
#include "dsaperf/cost/system_spec.hpp"
#include "dsaperf/model/layer_plan.hpp"

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::collect {

// Sizes of a batch without the axes that multiply them.
struct GridPoint {
  perfdb::Phase phase = perfdb::Phase::kContext;
  std::vector<cost::RequestGroup> requests;
};

// The grid of the established collectors: context, batch 1, 2, ..., 256 x 18 lengths with at most
// 65,536 tokens; generation, batch 1, 2, ..., 1024 x past 2^n - 1 with at most 2^24 cached tokens.
std::vector<GridPoint> standard_grid();

// The standard grid and: prefixes 0 ... 1M, both sides of `topk`, q_len 2 ... 4, ragged and mixed
// batches.
std::vector<GridPoint> deep_grid(int topk);

// A user's own, YAML (docs/formats/grid.md):
//   context:    [{batch: [1, 2], new: [4096], past: [0, 1024]}]
//   generation: [{batch: [1, 32], past: [4095], q_len: [1, 2]}]
//   ragged:     [{phase: context, requests: ["1x4096+0", "8x1+8192"]}]
// Errors name the file, the line and the key.
Result<std::vector<GridPoint>> parse_grid(const std::string& yaml);
Result<std::vector<GridPoint>> read_grid(const std::filesystem::path& path);

// What multiplies a grid. A list with one entry is an axis that does not vary.
struct Axes {
  std::size_t combinations() const;

  std::vector<int> heads;
  std::vector<model::KvFormat> kv;
  std::vector<model::WeightFormat> gemm;
  std::vector<model::IndexerRole> roles;
  std::vector<ScoreDistribution> scores;
  std::vector<Launch> launches;
};

// Layers (heads, projections, indexer, scores) whose cases stand together in a plan: shape by
// shape, so that what depends on the shape alone is made once. Their weights are kept meanwhile, of
// DeepSeek-V3.2 with 128 heads 0.6 GB a layer.
inline constexpr std::size_t kLayersTogether = 8;

struct LeftOut {
  Case which;
  std::string reason;  // "needs 187.2 GiB of 141.0 GiB: ..."
};

struct Plan {
  std::vector<Case> cases;
  std::vector<LeftOut> left_out;
  Bytes peak_memory;  // of the largest case that is kept
};

// Share of a card's memory that a case may take: the rest is the context, the library handles and
// fragmentation.
inline constexpr double kUsableShare = 0.92;
// Why a case that takes so much is left out.
std::string too_large(Bytes memory, const cost::SystemSpec& system);

// Device memory that measuring a case takes: weights of the layer, caches, activations and the
// score buffer, which is chunked to kScoreBudget.
inline constexpr Bytes kScoreBudget{std::int64_t{512} << 20};
Result<Bytes> memory_of(const Case& measured, const model::LayerPlan& layer);

// Grid times axes, less what does not fit `system`, in the order of kLayersTogether. The formats of
// the layer's projections are the case's. Fails with kInvalidArgument where an axis contradicts the
// layer (heads that do not divide its own, a shared layer of a model that has none). `watcher`, if
// not empty, hears of each case, kept or not: millions take seconds.
using PlanWatcher = std::function<void()>;
Result<Plan> make_plan(const std::vector<GridPoint>& grid, const Axes& axes,
                       const model::LayerPlan& layer, const cost::SystemSpec& system,
                       const PlanWatcher& watcher = {});

// The layer that a case measures: `layer` with the case's role and weight formats.
model::LayerPlan layer_of(const Case& measured, const model::LayerPlan& layer);

// Which part of a plan a worker takes: one of every count positions, so that every shard has small
// and large ones.
struct Shard {
  int index = 0;
  int count = 1;

  bool takes(std::size_t position) const {
    return position % static_cast<std::size_t>(count) == static_cast<std::size_t>(index);
  }
};

// What a shard takes of a plan: one of every count cases, in turn each of them; with `kShapes`
// every count-th shape with all of its axes, so that stages which several of them share are
// measured in one place.
enum class ShardBy { kCases, kShapes };
std::vector<Case> taken_by(const Shard& shard, const std::vector<Case>& cases, ShardBy by);

// "2/16": the third of sixteen.
Result<Shard> parse_shard(std::string_view text);

// Slurm's array (SLURM_ARRAY_TASK_ID, _MIN, _COUNT) or, without one, its tasks (SLURM_PROCID,
// SLURM_NTASKS); the whole plan where neither is set. Fails on values that contradict each other.
using Environment = std::string (*)(const char* name);
Result<Shard> shard_from_environment(Environment environment);

}  // namespace dsaperf::collect
