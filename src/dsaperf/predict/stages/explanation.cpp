#include "dsaperf/predict/stages/explanation.hpp"

#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/nearest_rows.hpp"
#include "dsaperf/predict/stages/stage_bound.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <string_view>

namespace dsaperf::predict::stages {
namespace {

constexpr std::size_t kShownNeighbours = 5;

// Of the kernels, as the model has them.
struct KernelTimes {
  std::array<double, model::kStageCount + 1> ms{};  // by stage; the last: launches
  double total_ms = 0;
};

KernelTimes kernel_times(const PartModel& model, const Setting& setting, const Sizes& sizes) {
  KernelTimes times;
  const auto values = model.split(sizes, setting);
  const auto list = terms(setting.phase, setting.regime);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto at = list[i].stage ? static_cast<std::size_t>(*list[i].stage) : model::kStageCount;
    times.ms[at] += values[i];
    times.total_ms += values[i];
  }
  return times;
}

void add_share(std::vector<Explanation::Share>& shares, std::string_view name, double ms,
               const StageBound& bound) {
  if (ms <= 0) return;
  shares.push_back({.stage = std::string(name),
                    .time = Micros::from_millis(ms),
                    .bound = Micros::from_millis(bound.ms()),
                    .binds = bound.ms() <= 0                   ? ""
                             : bound.math_ms > bound.memory_ms ? "math"
                                                               : "memory"});
}

// The answer by stages: each has its bound, and what is left over is shared out as the model has
// it. Where the host is waited for, the kernels keep the time that the model gives them.
std::vector<Explanation::Share> shares_of(double answer_ms, const PartModel& model,
                                          const Setting& setting, const Sizes& sizes) {
  const auto kernels = kernel_times(model, setting, sizes);
  const auto bounds = stage_bounds(setting, sizes);
  double bounded = 0;
  for (const auto& bound : bounds) bounded += bound.ms();
  const double host = model.host_ms(sizes, setting);
  double busy = answer_ms;
  if (host > 0) {
    busy = std::max({without_host_time(host, answer_ms), std::min(kernels.total_ms, answer_ms),
                     std::min(bounded, answer_ms)});
  }
  // An answer below the sum of the bounds would beat the hardware: then the bounds are scaled.
  const double squeeze = bounded > busy ? busy / bounded : 1;
  const auto beyond_bound = [&](std::size_t i) {
    return std::max(kernels.ms[i] - (i < bounds.size() ? bounds[i].ms() : 0), 0.0);
  };
  double excess = 0;
  for (std::size_t i = 0; i < kernels.ms.size(); ++i) excess += beyond_bound(i);
  const double left = busy - bounded * squeeze;
  const double scale = excess > 0 ? left / excess : 0;
  std::vector<Explanation::Share> shares;
  for (const auto stage : model::all_stages()) {
    const auto i = static_cast<std::size_t>(stage);
    add_share(shares, model::name(stage), bounds[i].ms() * squeeze + scale * beyond_bound(i),
              bounds[i]);
  }
  const double gaps = scale * kernels.ms.back() + (excess > 0 ? 0 : left);
  add_share(shares, "launches", gaps, {});
  add_share(shares, "host", answer_ms - busy, {});
  return shares;
}

std::vector<Explanation::Neighbour> neighbours_of(const PartModel& model, const LayerShape& shape,
                                                  const Sizes& sizes) {
  std::vector<Explanation::Neighbour> neighbours;
  for (const auto& [index, distance] : model.nearest(sizes, kShownNeighbours)) {
    const auto& o = model.observations()[index];
    LayerShape there = shape;
    there.heads = static_cast<std::int64_t>(o.sizes.heads);
    there.batch = static_cast<std::int64_t>(o.sizes.batch);
    there.new_tokens = static_cast<std::int64_t>(o.sizes.new_tokens);
    there.past_tokens = static_cast<std::int64_t>(o.sizes.past_tokens);
    neighbours.push_back(
        {.shape = there, .measured = Micros::from_millis(o.latency_ms), .distance = distance});
  }
  return neighbours;
}

}  // namespace

Explanation explained(const Answered& answered) {
  const auto& [rows, moved, shape, sizes, answer_ms] = answered;
  const auto& model = *rows.model;
  const auto& setting = moved != nullptr ? moved->setting : rows.part.setting;
  auto prediction = model.at(sizes);
  if (moved != nullptr) prediction = model.moved(prediction, sizes, moved->setting, moved->doubt);
  Explanation out;
  out.kernel_source = rows.part.kernel_source;
  out.regime = name(rows.part.setting.regime);
  if (moved != nullptr) out.moved = moved->text;
  out.defects = rows.part.defects;
  out.stage_model = Micros::from_millis(prediction.stage_ms);
  out.host_time = Micros::from_millis(model.host_ms(sizes, setting));
  out.relative_variance = moved == nullptr && model.find(sizes) ? 0 : prediction.relative_variance;
  out.stages = shares_of(answer_ms, model, setting, sizes);
  out.nearest = neighbours_of(model, shape, sizes);
  return out;
}

}  // namespace dsaperf::predict::stages
