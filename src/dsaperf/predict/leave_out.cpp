#include "dsaperf/predict/leave_out.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/predict/compatible/dsa_layer.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <random>
#include <set>
#include <tuple>

namespace dsaperf::predict {
namespace {

using perfdb::Phase;
using stages::Part;
using stages::Sizes;

constexpr std::array<std::string_view, 4> kAxes = {"heads", "batch", "new", "past"};

std::string population_of(const Part& part) {
  std::string name;
  if (part.shares_selection) name = "shared selection";
  if (part.kind.gemm_dtype != "fp8_block")
    name += (name.empty() ? "" : ", ") + part.kind.gemm_dtype + " GEMMs";
  return name;
}

// One row to predict.
struct Draw {
  std::size_t part = 0;
  std::size_t row = 0;
  std::size_t axis = 0;  // slices
};

// Smallest and largest value of each axis over all rows of a kind: what is neither is inner.
using KindKey = std::tuple<std::string, std::string, std::string, std::string, bool>;
KindKey key_of(const Part& part) {
  return {part.kind.architecture, part.kind.kv_dtype, part.kind.fmha_dtype, part.kind.gemm_dtype,
          part.shares_selection};
}

struct Range {
  std::array<double, 4> low{INFINITY, INFINITY, INFINITY, INFINITY};
  std::array<double, 4> high{-INFINITY, -INFINITY, -INFINITY, -INFINITY};
};

std::map<KindKey, Range> ranges_of(const std::vector<Part>& parts) {
  std::map<KindKey, Range> ranges;
  for (const auto& part : parts) {
    auto& range = ranges[key_of(part)];
    for (const auto& o : part.observations) {
      const auto values = o.sizes.axes();
      for (std::size_t a = 0; a < values.size(); ++a) {
        range.low[a] = std::min(range.low[a], values[a]);
        range.high[a] = std::max(range.high[a], values[a]);
      }
    }
  }
  return ranges;
}

std::map<std::string, std::vector<Draw>> draw(const std::vector<Part>& parts, LeftOut left_out,
                                              const LeaveOutOptions& options) {
  const auto ranges = ranges_of(parts);
  std::map<std::string, std::vector<Draw>> drawn;
  for (std::size_t p = 0; p < parts.size(); ++p) {
    const auto& range = ranges.at(key_of(parts[p]));
    auto& own = drawn[population_of(parts[p])];
    for (std::size_t r = 0; r < parts[p].observations.size(); ++r) {
      if (left_out == LeftOut::kPoint) {
        own.push_back({.part = p, .row = r});
        continue;
      }
      const auto values = parts[p].observations[r].sizes.axes();
      for (std::size_t a = 0; a < values.size(); ++a) {
        if (values[a] > range.low[a] && values[a] < range.high[a])
          own.push_back({.part = p, .row = r, .axis = a});
      }
    }
  }
  for (auto& [population, own] : drawn) {
    std::mt19937_64 random(options.seed);
    std::shuffle(own.begin(), own.end(), random);
    own.resize(std::min(own.size(), options.points));
    // Rows that share what is left out follow each other.
    const auto order = [&](const Draw& d) {
      return std::tuple(d.part, d.axis,
                        left_out == LeftOut::kSlice
                            ? parts[d.part].observations[d.row].sizes.axes()[d.axis]
                            : 0.0,
                        d.row);
    };
    std::sort(own.begin(), own.end(),
              [&](const Draw& a, const Draw& b) { return order(a) < order(b); });
  }
  return drawn;
}

LayerShape shape_of(const Part& part, const Sizes& z, std::string_view backend) {
  // As a query writes it: the table's own count of cached tokens (real_past takes vLLM's back).
  const double past = part.setting.phase == Phase::kGeneration && backend == "vllm"
                          ? z.past_tokens + 1
                          : z.past_tokens;
  return {.phase = part.setting.phase,
          .heads = static_cast<std::int64_t>(z.heads),
          .batch = static_cast<std::int64_t>(z.batch),
          .new_tokens = static_cast<std::int64_t>(z.new_tokens),
          .past_tokens = static_cast<std::int64_t>(past)};
}

// Predicts the rows of one part; `draws` are sorted so that equal slices are neighbours.
class StagePredictor {
 public:
  StagePredictor(const Part& part, const stages::PartParameters& parameters)
      : model_(part.setting, part.observations, parameters) {}

  void predict(std::span<const Draw> draws, LeftOut left_out,
               std::vector<LeftOutPoint>& out) const {
    const auto& rows = model_.observations();
    constexpr std::size_t kFolds = 8;  // of points: the weights never see the row either
    for (std::size_t i = 0; i < draws.size();) {
      std::size_t end = i + 1;
      if (left_out == LeftOut::kPoint) {
        end = std::min(draws.size(),
                       i + std::max<std::size_t>(1, (draws.size() + kFolds - 1) / kFolds));
        std::set<std::size_t> fold;
        for (std::size_t d = i; d < end; ++d) fold.insert(draws[d].row);
        answer(draws.subspan(i, end - i), fold, out);
      } else {
        const stages::Slice slice{.axis = draws[i].axis,
                                  .value = rows[draws[i].row].sizes.axes()[draws[i].axis]};
        while (end < draws.size() && draws[end].axis == slice.axis &&
               slice.holds(rows[draws[end].row].sizes))
          ++end;
        const stages::PartModel::Without without(model_, slice);
        for (std::size_t d = i; d < end; ++d) add(without.at(rows[draws[d].row].sizes), out);
      }
      i = end;
    }
  }

 private:
  static void add(const stages::PartPrediction& p, std::vector<LeftOutPoint>& out) {
    auto& point = out.emplace_back();
    point.predicted_ms = p.latency_ms;
    point.low_ms = p.low_ms;
    point.high_ms = p.high_ms;
  }
  // Points of one fold: weights without the whole fold, the process without the point alone.
  void answer(std::span<const Draw> draws, const std::set<std::size_t>& fold,
              std::vector<LeftOutPoint>& out) const {
    const stages::PartModel::Without without(model_,
                                             [&](std::size_t o) { return fold.contains(o); });
    for (const auto& d : draws) add(without.at(model_.observations()[d.row].sizes, d.row), out);
  }

  stages::PartModel model_;
};

// The same rows by aiconfigurator's interpolation, the table's own version alone.
class PeerPredictor {
 public:
  PeerPredictor(const perfdb::DsaTable& table, const Part& part, compatible::DsaBound bound,
                std::string_view backend)
      : bound_(bound),
        phase_(table.phase),
        shared_(part.shares_selection),
        backend_(backend),
        samples_(compatible::samples_of(table, part.kind, part.shares_selection, 1)) {}

  void predict(const Part& part, std::span<const Draw> draws, LeftOut left_out,
               std::vector<LeftOutPoint>& out) const {
    for (std::size_t i = 0; i < draws.size();) {
      std::size_t end = i + 1;
      const auto axis = draws[i].axis;
      const auto own = sample_of(part, draws[i].row);
      std::optional<compatible::LatencyGrid> grid;
      if (left_out == LeftOut::kPoint) {
        grid = grid_without([&](const auto& at) { return at == own; });
      } else {
        const stages::Slice slice{.axis = axis,
                                  .value = part.observations[draws[i].row].sizes.axes()[axis]};
        while (end < draws.size() && draws[end].axis == axis &&
               slice.holds(part.observations[draws[end].row].sizes)) {
          ++end;
        }
        const auto column = grid_axis(axis);
        grid = grid_without([&](const auto& at) { return at[column] == own[column]; });
      }
      for (std::size_t d = i; d < end; ++d) {
        const auto at = sample_of(part, draws[d].row);
        compatible::Point point{};
        std::transform(at.begin(), at.end(), point.begin(),
                       [](std::int64_t v) { return static_cast<double>(v); });
        const auto answer = grid->at(point);
        out.emplace_back().predicted_ms = answer ? answer->latency : NAN;
      }
      i = end;
    }
  }

 private:
  using At = std::array<std::int64_t, compatible::kMaxAxes>;

  std::size_t grid_axis(std::size_t axis) const {
    constexpr std::array<std::size_t, 4> kContext = {0, 3, 2, 1};
    constexpr std::array<std::size_t, 4> kDecode = {0, 1, 2, 2};
    return phase_ == Phase::kContext ? kContext[axis] : kDecode[axis];
  }
  At sample_of(const Part& part, std::size_t row) const {
    const auto shape = shape_of(part, part.observations[row].sizes, backend_);
    if (phase_ == Phase::kContext)
      return {shape.heads, shape.past_tokens, shape.new_tokens, shape.batch};
    return {shape.heads, shape.batch, shape.past_tokens + shape.new_tokens};
  }
  template <typename IsOut>
  compatible::LatencyGrid grid_without(const IsOut& is_out) const {
    std::vector<compatible::LatencyGrid::Sample> kept;
    kept.reserve(samples_.size());
    for (const auto& sample : samples_) {
      if (!is_out(sample.at)) kept.push_back(sample);
    }
    return compatible::grid_of(bound_, phase_, shared_, std::move(kept));
  }

  compatible::DsaBound bound_;
  Phase phase_;
  bool shared_;
  std::string backend_;
  std::vector<compatible::LatencyGrid::Sample> samples_;
};

double percentile(std::vector<double>& sorted, double share) {
  if (sorted.empty()) return NAN;
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const auto high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (sorted[high] - sorted[low]) * (at - static_cast<double>(low));
}

}  // namespace

std::string_view name(LeftOut left_out) {
  return left_out == LeftOut::kPoint ? "point" : "slice";
}

Result<std::vector<LeftOutPoint>> leave_out(const perfdb::SystemsTree& tree, const TableName& table,
                                            Method method, LeftOut left_out,
                                            const LeaveOutOptions& options,
                                            stages::HyperparameterStore& store,
                                            const std::function<void(const stages::Part&)>& note) {
  DSAPERF_TRY_ASSIGN(const auto system, tree.system(table.system));
  DSAPERF_TRY_ASSIGN(const auto rows, perfdb::load_dsa_table(tree, table.system, table.backend,
                                                             table.version, table.phase));
  DSAPERF_TRY_ASSIGN(auto parts, stages::parts_of(rows, system, table.backend));
  const bool all_known =
      std::all_of(parts.begin(), parts.end(), [&](const Part& part) { return store.knows(part); });
  if (method == Method::kStages && !all_known) stages::look_at_rows(parts, rows, table.backend);
  std::erase_if(parts, [&](const Part& part) {
    return part.source != 0 ||
           (table.backend != "sglang" && part.kind.architecture != "DeepseekV32ForCausalLM");
  });
  std::vector<LeftOutPoint> points;
  for (const auto& [population, draws] : draw(parts, left_out, options)) {
    for (std::size_t i = 0; i < draws.size();) {
      std::size_t end = i + 1;
      while (end < draws.size() && draws[end].part == draws[i].part) ++end;
      const auto& part = parts[draws[i].part];
      const std::span<const Draw> own(&draws[i], end - i);
      const std::size_t first = points.size();
      if (method == Method::kStages) {
        StagePredictor(part, store.of(part, note)).predict(own, left_out, points);
      } else {
        DSAPERF_TRY_ASSIGN(auto bound, compatible::DsaBound::make(
                                           system, part.kind.architecture, part.kind.fmha_dtype,
                                           part.kind.kv_dtype, part.kind.gemm_dtype));
        PeerPredictor(rows, part, bound, table.backend).predict(part, own, left_out, points);
      }
      for (std::size_t d = 0; d < own.size(); ++d) {
        auto& point = points[first + d];
        const auto& observation = part.observations[own[d].row];
        point.population = population;
        if (left_out == LeftOut::kSlice) point.axis = kAxes[own[d].axis];
        point.kind = part.kind;
        point.regime = stages::name(part.setting.regime);
        point.shape = shape_of(part, observation.sizes, table.backend);
        point.measured_ms = observation.latency_ms;
      }
      i = end;
    }
  }
  return points;
}

std::vector<LeaveOutSummary> summarise(const TableName& table, Method method, LeftOut left_out,
                                       const std::vector<LeftOutPoint>& points) {
  const auto base =
      fmt::format("{} {} {}", table.backend, table.version, perfdb::name(table.phase));
  std::vector<LeaveOutSummary> rows;
  const auto add = [&](const std::string& name, const auto& is_in) {
    std::vector<double> errors;
    std::size_t covered = 0;
    std::size_t with_interval = 0;
    for (const auto& p : points) {
      if (!is_in(p)) continue;
      errors.push_back(100 * std::abs(p.predicted_ms / p.measured_ms - 1));
      if (!p.low_ms) continue;
      ++with_interval;
      if (*p.low_ms <= p.measured_ms && p.measured_ms <= *p.high_ms) ++covered;
    }
    if (errors.empty()) return;
    std::sort(errors.begin(), errors.end());
    LeaveOutSummary row;
    row.table = name;
    row.method = method;
    row.left_out = left_out;
    row.n = errors.size();
    row.median_pct = percentile(errors, 0.5);
    row.p90_pct = percentile(errors, 0.9);
    if (with_interval > 0)
      row.coverage90_pct =
          100.0 * static_cast<double>(covered) / static_cast<double>(with_interval);
    rows.push_back(std::move(row));
  };
  add(base, [](const LeftOutPoint& p) { return p.population.empty(); });
  if (left_out == LeftOut::kPoint) {
    add(base + ", topk to 2 topk", [](const LeftOutPoint& p) {
      const auto total = p.shape.new_tokens + p.shape.past_tokens;
      return p.population.empty() && total > 2048 && total <= 4096;
    });
  }
  std::set<std::string> others;
  for (const auto& p : points) {
    if (!p.population.empty()) others.insert(p.population);
  }
  for (const auto& population : others) {
    add(fmt::format("{}, {}", base, population),
        [&](const LeftOutPoint& p) { return p.population == population; });
  }
  return rows;
}

}  // namespace dsaperf::predict
