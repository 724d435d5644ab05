#include "dsaperf/predict/stages/part_model.hpp"

#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/matern.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

std::vector<TermValues> values_of(const Setting& setting,
                                  const std::vector<Observation>& observations) {
  std::vector<TermValues> values;
  values.reserve(observations.size());
  const SettingTerms terms(setting);
  for (const auto& observation : observations) values.push_back(terms.values(observation.sizes));
  return values;
}

double stage_time(const Setting& setting, const Sizes& sizes, double kernels_ms,
                  const StageWeights& weights, double floor) {
  return std::max(with_host_time(weights.host_ms(setting, sizes, floor), kernels_ms), 1e-9);
}

std::vector<Sizes> sizes_of(const std::vector<Observation>& observations) {
  std::vector<Sizes> sizes;
  sizes.reserve(observations.size());
  for (const auto& observation : observations) sizes.push_back(observation.sizes);
  return sizes;
}

std::vector<Coordinates> coordinates_of(const Setting& setting,
                                        const std::vector<Observation>& observations) {
  std::vector<Coordinates> at;
  at.reserve(observations.size());
  for (const auto& observation : observations)
    at.push_back(coordinates(setting, observation.sizes));
  return at;
}

}  // namespace

Coordinates coordinates(const Setting& setting, const Sizes& z) {
  const auto log2 = [](double x) { return std::log2(std::max(x, 0.5)); };
  if (setting.phase == Phase::kGeneration)
    return {log2(z.heads), log2(z.tokens()), log2(z.past_tokens + 1)};
  return {log2(z.heads),           log2(z.batch),   log2(z.new_tokens),
          log2(z.past_tokens + 1), log2(z.total()), log2(z.tokens())};
}

PartModel::PartModel(Setting setting, std::vector<Observation> observations,
                     PartParameters parameters)
    : setting_(setting),
      observations_(std::move(observations)),
      parameters_(std::move(parameters)),
      body_(parameters_.calibration.body),
      edge_(parameters_.calibration.edge),
      values_(values_of(setting_, observations_)),
      weights_(parameters_.weights.terms.empty()
                   ? fit_weights(setting_, observations_, values_, parameters_.host_floor_ms)
                   : parameters_.weights),
      kernels_(SettingTerms(setting_), weights_.terms),
      process_(coordinates_of(setting_, observations_), remainders(weights_), parameters_.hyper,
               neighbours()),
      rows_(observations_),
      neighbourhoods_(process_),
      grid_(sizes_of(observations_)) {
  prepare_grid();
}

double PartModel::stage_ms(const Sizes& sizes) const {
  return stage_time(setting_, sizes, kernels_.ms(sizes), weights_, parameters_.host_floor_ms);
}

double PartModel::stage_ms_in(const Setting& other, const Sizes& sizes) const {
  if (!elsewhere_ || elsewhere_->setting != other)
    elsewhere_ = {.setting = other, .kernels = {SettingTerms(other), weights_.terms}};
  return stage_time(other, sizes, elsewhere_->kernels.ms(sizes), weights_,
                    parameters_.host_floor_ms);
}

PartPrediction PartModel::finish(const Posterior& posterior, double stage_ms, const Sizes& sizes,
                                 const Unmeasured& unmeasured) const {
  const auto& hyper = parameters_.hyper;
  const double signal = process_.prior_variance();
  const double relative =
      std::clamp((posterior.variance - hyper.noise * hyper.noise) / signal, 0.0, 1.0);
  const double half = width(relative, sizes, unmeasured) * std::sqrt(posterior.variance);
  const double latency_ms = stage_ms * std::exp(posterior.mean);
  const double spread = std::exp(half);
  return {.latency_ms = latency_ms,
          .low_ms = latency_ms / spread,
          .high_ms = latency_ms * spread,
          .stage_ms = stage_ms,
          .relative_variance = relative};
}

void PartModel::prepare_grid() {
  const auto& hyper = parameters_.hyper;
  const double signal = hyper.signal * hyper.signal;
  constexpr std::size_t kTotal = 4;
  constexpr std::size_t kTokens = 5;
  const bool decode = setting_.phase == Phase::kGeneration;
  // Which coordinate an axis of the grid is; decode has no new tokens of its own.
  constexpr std::array<std::size_t, PartGrid::kAxes> kContext = {0, 1, 2, 3};
  constexpr std::array<std::size_t, PartGrid::kAxes> kDecode = {0, 1, 1, 2};
  const auto per_octave = [&](std::size_t c) { return 1 / (hyper.length[c] * hyper.length[c]); };
  for (std::size_t a = 0; a < PartGrid::kAxes; ++a) {
    const auto own = (decode ? kDecode : kContext)[a];
    // Distances in lengths, squared: batch and new tokens move all tokens with them, new and cached
    // ones the total as far as they are most of it.
    const double fixed =
        per_octave(own) + (!decode && (a == 1 || a == 2) ? per_octave(kTokens) : 0);
    const double with_total = fixed + (!decode && a >= 2 ? per_octave(kTotal) : 0);
    const auto lines = grid_.lines(a);
    step_variance_[a] = signal * hyper.step[own] * hyper.step[own];
    for (std::size_t i = 0; i + 1 < lines.size(); ++i) {
      const double past = a == 3 ? 1 : 0;
      const double octaves = std::log2((lines[i + 1] + past) / (lines[i] + past));
      // Of the mean of two ends as a guess of the middle.
      const auto unknown = [&](double rate) {
        const double squared = octaves * octaves * rate;
        return signal * std::max(1.5 + 0.5 * matern52(squared) - 2 * matern52(squared / 4), 0.0);
      };
      const double least = unknown(fixed);
      bends_[a].push_back({.least = least, .by_total = unknown(with_total) - least});
    }
  }
  smoothed_.resize(observations_.size());
}

Neighbourhoods::MeanParts PartModel::corner(std::size_t index) const {
  auto parts = neighbourhoods_.mean_parts(process_, process_.at()[index]);
  const double mean = std::accumulate(parts.step.begin(), parts.step.end(), parts.smooth);
  // What the process follows as closely as it does most is not contradicted: asking takes long.
  constexpr double kUsual = 2;
  const bool is_followed =
      std::abs(process_.observed()[index] - mean) <= kUsual * parameters_.hyper.noise;
  if (is_followed || !is_contradicted(index)) return parts;
  const auto others = without(index);
  return {.smooth = std::log(others.latency_ms / others.stage_ms), .step = {}};
}

bool PartModel::in_cell(const Sizes& sizes, Posterior& out, Unmeasured& unmeasured) const {
  PartGrid::Cell cell;  // NOLINT(cppcoreguidelines-pro-type-member-init): what is in use is written
  if (!grid_.cell(sizes, cell)) return false;
  unmeasured = cell.off_line;
  Neighbourhoods::MeanParts parts;
  for (std::size_t c = 0; c < cell.corners; ++c) {
    auto& node = smoothed_[cell.row[c]];
    if (!node.known) {
      node.parts = corner(cell.row[c]);
      node.known = true;
    }
    parts.smooth += cell.weight[c] * node.parts.smooth;
    for (std::size_t a = 0; a < kStepAxes; ++a)
      parts.step[a] += cell.weight[c] * node.parts.step[a];
  }
  // Coordinates and axes of the grid have the same order but in decode, where the past is third.
  const bool decode = setting_.phase == Phase::kGeneration;
  double mean = parts.smooth;
  for (std::size_t a = 0; a < kStepAxes; ++a)
    mean += unmeasured[decode && a == 2 ? 3 : a] ? 0 : parts.step[a];
  double variance = parameters_.hyper.noise * parameters_.hyper.noise;
  const auto axes = sizes.axes();
  const double total = sizes.total();
  for (std::size_t i = 0; i < cell.betweens; ++i) {
    const auto& between = cell.between[i];
    const auto& bend = bends_[between.axis][between.interval];
    const double share = axes[between.axis] / total;
    // What belongs to this value, and what the ends have of their own: their weights' squares are
    // 1 - bend / 2.
    variance += (2 - between.bend / 2) * step_variance_[between.axis] +
                between.bend * (bend.least + share * share * bend.by_total);
  }
  out = {.mean = mean, .variance = variance};
  return true;
}

PartPrediction PartModel::at(const Sizes& sizes) const {
  Posterior posterior;
  Unmeasured unmeasured{};
  if (!in_cell(sizes, posterior, unmeasured)) return at_neighbourhood(sizes);
  return finish(posterior, stage_ms(sizes), sizes, unmeasured);
}

PartPrediction PartModel::at_neighbourhood(const Sizes& sizes) const {
  return finish(neighbourhoods_.at(process_, coordinates(setting_, sizes)), stage_ms(sizes), sizes,
                grid_.unmeasured(sizes));
}

PartPrediction PartModel::moved(PartPrediction p, const Sizes& sizes, const Setting& other,
                                double doubt) const {
  // Of the change that the stages make; the host's is known by one number for all its work.
  constexpr double kDoubt = 0.25;
  constexpr double kHostDoubt = 0.5;
  const double stage_ms = stage_ms_in(other, sizes);
  const double ratio = stage_ms / p.stage_ms;
  const double own = std::log(p.high_ms / p.latency_ms);
  const double moved =
      (other.host_launch == setting_.host_launch ? kDoubt : kHostDoubt) * std::log(ratio);
  const double half = std::sqrt(own * own + moved * moved + doubt * doubt);
  p.latency_ms *= ratio;
  p.low_ms = p.latency_ms * std::exp(-half);
  p.high_ms = p.latency_ms * std::exp(half);
  p.stage_ms = stage_ms;
  return p;
}

PartPrediction PartModel::without(std::size_t index) const {
  if (left_out_.empty()) left_out_.resize(observations_.size());
  auto& kept = left_out_[index];
  if (!kept) {
    const auto& sizes = observations_[index].sizes;
    const auto posterior =
        process_.posterior(coordinates(setting_, sizes), [&](std::size_t i) { return i == index; });
    kept = finish(posterior, stage_ms(sizes), sizes, {});
  }
  return *kept;
}

bool PartModel::is_contradicted(std::size_t index) const {
  constexpr double kContradiction = 4;  // half-widths
  const auto others = without(index);
  const double half = std::log(others.high_ms / others.latency_ms);
  return std::abs(std::log(observations_[index].latency_ms / others.latency_ms)) >
         kContradiction * half;
}

StageWeights PartModel::weights_without(const std::function<bool(std::size_t)>& left_out) const {
  return fit_weights(setting_, observations_, values_, parameters_.host_floor_ms, left_out,
                     &weights_);
}

std::vector<double> PartModel::remainders(const StageWeights& weights) const {
  std::vector<double> out(values_.size());
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const auto& o = observations_[i];
    const double stage_ms = stage_time(setting_, o.sizes, weights.kernels_ms(values_[i]), weights,
                                       parameters_.host_floor_ms);
    out[i] = std::log(o.latency_ms / stage_ms);
  }
  return out;
}

double PartModel::squared_distance(const Sizes& sizes) const {
  const auto here = coordinates(setting_, sizes);
  double nearest = INFINITY;
  for (const auto& there : process_.at()) {
    double squared = 0;
    for (std::size_t a = 0; a < here.size(); ++a) {
      squared += (here[a] - there[a]) * (here[a] - there[a]);
    }
    nearest = std::min(nearest, squared);
  }
  return nearest;
}

std::vector<std::pair<std::size_t, double>> PartModel::nearest(const Sizes& sizes,
                                                               std::size_t count) const {
  const auto point = coordinates(setting_, sizes);
  const auto here = process_.scaled(point);
  std::vector<std::pair<std::size_t, double>> out;
  for (const auto index : process_.nearest(point, count, {})) {
    const auto there = process_.scaled(process_.at()[index]);
    double squared = 0;
    for (std::size_t a = 0; a < here.size(); ++a)
      squared += (here[a] - there[a]) * (here[a] - there[a]);
    out.emplace_back(index, std::sqrt(squared));
  }
  return out;
}

std::vector<double> PartModel::split(const Sizes& sizes, const Setting& other) const {
  const auto values = term_values(other, sizes);
  std::vector<double> out(weights_.terms.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = values[i] * weights_.terms[i];
  return out;
}

PartModel::Without::Without(const PartModel& part, const Slice& slice)
    : Without(part, slice, part.weights_without([&](std::size_t o) {
        return slice.holds(part.observations_[o].sizes);
      })) {
}

PartModel::Without::Without(const PartModel& part, const std::function<bool(std::size_t)>& fold)
    : Without(part, std::nullopt, part.weights_without(fold)) {
}

PartModel::Without::Without(const PartModel& part, std::optional<Slice> slice, StageWeights weights)
    : part_(part),
      slice_(slice),
      weights_(std::move(weights)),
      process_({part.process_.at().begin(), part.process_.at().end()}, part.remainders(weights_),
               part.parameters_.hyper, part.neighbours()) {
}

PartPrediction PartModel::Without::at(const Sizes& sizes,
                                      std::optional<std::size_t> left_out) const {
  const double kernels_ms = weights_.kernels_ms(term_values(part_.setting_, sizes));
  const double stage_ms =
      stage_time(part_.setting_, sizes, kernels_ms, weights_, part_.parameters_.host_floor_ms);
  const auto posterior = process_.posterior(coordinates(part_.setting_, sizes), [&](std::size_t i) {
    return i == left_out || (slice_ && slice_->holds(part_.observations_[i].sizes));
  });
  auto unmeasured = part_.grid_.unmeasured(sizes);
  if (slice_ && slice_->holds(sizes)) unmeasured[slice_->axis] = true;
  return part_.finish(posterior, stage_ms, sizes, unmeasured);
}

}  // namespace dsaperf::predict::stages
