#include "dsaperf/collect/plan.hpp"

#include "dsaperf/core/csv.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/cost/stage_cost.hpp"

#include <algorithm>
#include <map>
#include <set>
#include <span>

namespace dsaperf::collect {
namespace {

constexpr std::int64_t kMostShards = 100'000;

Result<void> check(const Axes& axes, const model::LayerPlan& layer) {
  for (const int heads : axes.heads) {
    if (heads < 1 || layer.geometry.heads % heads != 0) {
      return fail(Errc::kInvalidArgument,
                  "--heads {}: the model's {} heads can't be split into ranks of {} heads", heads,
                  layer.geometry.heads, heads);
    }
  }
  if (layer.attention != model::AttentionKind::kDsa) {
    return fail(Errc::kUnsupported,
                "only DSA layers are measured; this model's layer is of another kind "
                "(dsaperf analyze says which)");
  }
  const bool empty = axes.heads.empty() || axes.kv.empty() || axes.gemm.empty() ||
                     axes.roles.empty() || axes.scores.empty() || axes.launches.empty();
  if (empty) return fail(Errc::kInvalidArgument, "an axis of the plan has no value");
  return {};
}

// Every layer that the axes name, as a case without a shape.
std::vector<Case> layers_of(const Axes& axes) {
  std::vector<Case> layers;
  for (const int heads : axes.heads) {
    for (const auto gemm : axes.gemm) {
      for (const auto role : axes.roles) {
        for (const auto scores : axes.scores) {
          layers.push_back({.heads = heads, .gemm = gemm, .role = role, .scores = scores});
        }
      }
    }
  }
  return layers;
}

}  // namespace

std::size_t Axes::combinations() const {
  return heads.size() * kv.size() * gemm.size() * roles.size() * scores.size() * launches.size();
}

std::string too_large(Bytes memory, const cost::SystemSpec& system) {
  return fmt::format("needs {:.1f} GiB; {:.1f} GiB of {} can be used", memory.gib(),
                     kUsableShare * system.hbm_capacity.gib(), system.name);
}

model::LayerPlan layer_of(const Case& measured, const model::LayerPlan& layer) {
  auto result = layer;
  result.indexer_role = measured.role;
  result.formats = {.q_a = measured.gemm,
                    .kv_a = measured.gemm,
                    .q_b = measured.gemm,
                    .kv_b = measured.gemm,
                    .o = measured.gemm,
                    .indexer = measured.gemm};
  return result;
}

Result<Bytes> memory_of(const Case& measured, const model::LayerPlan& layer) {
  const auto plan = layer_of(measured, layer);
  DSAPERF_TRY_ASSIGN(const auto cost, cost::layer_cost(plan, measured.shape()));
  double weights = 0;
  double widest_activation = 0;
  for (const auto& stage : cost.stages()) {
    weights += stage.traffic.weights;
    widest_activation = std::max(widest_activation, stage.traffic.activations);
  }
  const auto context = static_cast<double>(measured.context_tokens());
  double rows = cost::kv_row_bytes(plan.geometry, measured.kv);
  if (plan.indexer) rows += cost::index_row_bytes(*plan.indexer);
  const double scores =
      std::min(4 * cost.work().scored_pairs, static_cast<double>(kScoreBudget.value));
  // Two of the widest stages' buffers live at a time: one is read while the next is written.
  return Bytes{
      static_cast<std::int64_t>(weights + rows * context + scores + 2 * widest_activation)};
}

Result<Plan> make_plan(const std::vector<GridPoint>& grid, const Axes& axes,
                       const model::LayerPlan& layer, const cost::SystemSpec& system,
                       const PlanWatcher& watcher) {
  DSAPERF_TRY(check(axes, layer));
  Plan plan;
  const double usable = kUsableShare * static_cast<double>(system.hbm_capacity.value);
  std::set<std::string> ids;  // a value that an axis names twice is one case
  const auto add = [&](Case candidate) -> Result<void> {
    if (watcher) watcher();
    if (!ids.insert(candidate.id()).second) return {};
    DSAPERF_TRY_ASSIGN(const auto memory, memory_of(candidate, layer));
    if (static_cast<double>(memory.value) > usable) {
      plan.left_out.push_back({std::move(candidate), too_large(memory, system)});
      return {};
    }
    plan.peak_memory = std::max(plan.peak_memory, memory);
    plan.cases.push_back(std::move(candidate));
    return {};
  };
  const auto layers = layers_of(axes);
  for (std::size_t first = 0; first < layers.size(); first += kLayersTogether) {
    const auto together =
        std::span(layers).subspan(first, std::min(kLayersTogether, layers.size() - first));
    for (const auto& point : grid) {
      for (const auto& layer_case : together) {
        for (const auto kv : axes.kv) {
          for (const auto launch : axes.launches) {
            Case candidate = layer_case;
            candidate.phase = point.phase;
            candidate.requests = point.requests;
            candidate.kv = kv;
            candidate.launch = launch;
            DSAPERF_TRY(add(std::move(candidate)));
          }
        }
      }
    }
  }
  return plan;
}

std::vector<Case> taken_by(const Shard& shard, const std::vector<Case>& cases, ShardBy by) {
  std::vector<Case> taken;
  std::map<std::string, std::size_t> shapes;  // in order of appearance
  for (std::size_t i = 0; i < cases.size(); ++i) {
    // Axes repeat with every shape: without the shift one shard of two would have one format.
    const std::size_t position =
        by == ShardBy::kCases ? i + i / static_cast<std::size_t>(shard.count)
                              : shapes.emplace(cases[i].shape_text(), shapes.size()).first->second;
    if (shard.takes(position)) taken.push_back(cases[i]);
  }
  return taken;
}

Result<Shard> parse_shard(std::string_view text) {
  const auto slash = std::min(text.find('/'), text.size());
  const auto index = parse_int(text.substr(0, slash)).value_or(-1);
  const auto count = parse_int(text.substr(std::min(slash + 1, text.size()))).value_or(0);
  if (count < 1 || count > kMostShards || index < 0 || index >= count) {
    return fail(Errc::kInvalidArgument,
                "shard '{}' is not i/n with 0 <= i < n (0/4 is the first of four)", text);
  }
  return Shard{static_cast<int>(index), static_cast<int>(count)};
}

Result<Shard> shard_from_environment(Environment environment) {
  const auto shard = [&](const char* index_name, const char* count_name,
                         std::int64_t first) -> Result<Shard> {
    const auto index = parse_int(environment(index_name));
    const auto count = parse_int(environment(count_name));
    if (!index || !count) {
      return fail(Errc::kInvalidArgument, "{} and {} must both be numbers", index_name, count_name);
    }
    return parse_shard(fmt::format("{}/{}", *index - first, *count));
  };
  if (!environment("SLURM_ARRAY_TASK_ID").empty()) {
    const auto first = parse_int(environment("SLURM_ARRAY_TASK_MIN")).value_or(0);
    return shard("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", first);
  }
  if (!environment("SLURM_NTASKS").empty() && !environment("SLURM_PROCID").empty()) {
    return shard("SLURM_PROCID", "SLURM_NTASKS", 0);
  }
  return Shard{};
}

}  // namespace dsaperf::collect
