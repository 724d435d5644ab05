#include "dsaperf/predict/stages/part_model.hpp"

#include "dsaperf/predict/stages/nnls.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

namespace dsaperf::predict::stages {
namespace {

using perfdb::Phase;

constexpr double kUsualPull = 3e-3;
constexpr double kCellLengths = 0.25;    // side of a cell whose points share their neighbours
constexpr std::size_t kMaxCells = 2000;  // 17 kB each

double dot(const TermValues& values, const std::vector<double>& weights) {
  double sum = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) sum += values[i] * weights[i];
  return sum;
}

std::vector<TermValues> values_of(const Setting& setting,
                                  const std::vector<Observation>& observations) {
  std::vector<TermValues> values;
  values.reserve(observations.size());
  for (const auto& observation : observations)
    values.push_back(term_values(setting, observation.sizes));
  return values;
}

// Each row divided by its latency: the relative error counts.
std::vector<double> fit_weights(const Setting& setting,
                                const std::vector<Observation>& observations,
                                const std::vector<TermValues>& values,
                                const std::function<bool(std::size_t)>& left_out) {
  const auto count = static_cast<Eigen::Index>(terms(setting.phase, setting.regime).size());
  Eigen::MatrixXd rows(static_cast<Eigen::Index>(values.size()), count);
  Eigen::Index kept = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (left_out && left_out(i)) continue;
    for (Eigen::Index c = 0; c < count; ++c) {
      rows(kept, c) = values[i][static_cast<std::size_t>(c)] / observations[i].latency_ms;
    }
    ++kept;
  }
  const auto used = rows.topRows(kept);
  Eigen::MatrixXd gram = used.transpose() * used;
  Eigen::VectorXd moment = used.colwise().sum().transpose();
  // The pull to the usual weights: a small part of what each column has to say.
  const auto list = terms(setting.phase, setting.regime);
  for (Eigen::Index c = 0; c < count; ++c) {
    const double pull = kUsualPull * gram(c, c);
    gram(c, c) += pull;
    moment[c] += pull * list[static_cast<std::size_t>(c)].usual;
  }
  const Eigen::VectorXd weights = non_negative_least_squares(gram, moment);
  return {weights.data(), weights.data() + weights.size()};
}

// What the stage model leaves, in log. A model of nothing (all weights 0) leaves everything.
std::vector<double> remainders(const std::vector<Observation>& observations,
                               const std::vector<TermValues>& values,
                               const std::vector<double>& weights) {
  std::vector<double> out(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    out[i] = std::log(observations[i].latency_ms / std::max(dot(values[i], weights), 1e-9));
  }
  return out;
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

double Calibration::width(double relative_variance) const {
  const double low = std::log(near_variance);
  const double high = std::log(far_variance);
  if (!(high > low)) return std::max(near_width, far_width);
  const double t =
      std::clamp((std::log(std::max(relative_variance, 1e-12)) - low) / (high - low), 0.0, 1.0);
  return near_width + (far_width - near_width) * t;
}

PartModel::PartModel(Setting setting, std::vector<Observation> observations,
                     const PartParameters& parameters)
    : setting_(setting),
      observations_(std::move(observations)),
      parameters_(parameters),
      values_(values_of(setting_, observations_)),
      weights_(fit_weights(setting_, observations_, values_, {})),
      process_(coordinates_of(setting_, observations_),
               remainders(observations_, values_, weights_), parameters_.hyper, neighbours()) {
}

PartPrediction PartModel::finish(const Posterior& posterior, double stage_ms) const {
  const auto& hyper = parameters_.hyper;
  const double signal = hyper.signal * hyper.signal;
  const double relative =
      std::clamp((posterior.variance - hyper.noise * hyper.noise) / signal, 0.0, 1.0);
  const double half = parameters_.calibration.width(relative) * std::sqrt(posterior.variance);
  return {.latency_ms = stage_ms * std::exp(posterior.mean),
          .low_ms = stage_ms * std::exp(posterior.mean - half),
          .high_ms = stage_ms * std::exp(posterior.mean + half),
          .stage_ms = stage_ms,
          .relative_variance = relative,
          .nearest = posterior.nearest};
}

PartPrediction PartModel::at(const Sizes& sizes) const {
  const double stage_ms = std::max(dot(term_values(setting_, sizes), weights_), 1e-9);
  const auto point = coordinates(setting_, sizes);
  const auto scaled = process_.scaled(point);
  Cell cell{};
  Coordinates center{};
  for (std::size_t a = 0; a < kMaxCoordinates; ++a) {
    const double number = std::clamp(std::round(scaled[a] / kCellLengths), -30000.0, 30000.0);
    cell[a] = static_cast<std::int16_t>(number);
    center[a] = number * kCellLengths * process_.hyper().length[a];
  }
  auto found = cells_.find(cell);
  if (found == cells_.end()) {
    if (cells_.size() >= kMaxCells) cells_.clear();
    found = cells_.emplace(cell, process_.local(process_.nearest(center, neighbours(), {}))).first;
  }
  return finish(process_.posterior(point, found->second), stage_ms);
}

PartPrediction PartModel::at(const Sizes& sizes, const Setting& other) const {
  constexpr double kDoubt = 0.25;
  auto p = at(sizes);
  const double stage_ms = std::max(dot(term_values(other, sizes), weights_), 1e-9);
  const double ratio = stage_ms / p.stage_ms;
  const double wider = std::exp(kDoubt * std::abs(std::log(ratio)));
  p.latency_ms *= ratio;
  p.low_ms *= ratio / wider;
  p.high_ms *= ratio * wider;
  p.stage_ms = stage_ms;
  return p;
}

std::size_t PartModel::CellHash::operator()(const Cell& cell) const {
  std::uint64_t hash = 0;
  for (const auto number : cell)
    hash = (hash ^ static_cast<std::uint16_t>(number)) * 0x9E3779B97F4A7C15U;
  return hash ^ (hash >> 31);
}

PartPrediction PartModel::without(std::size_t index) const {
  if (left_out_.empty()) left_out_.resize(observations_.size());
  auto& kept = left_out_[index];
  if (!kept) {
    const double stage_ms = std::max(dot(values_[index], weights_), 1e-9);
    const auto posterior = process_.posterior(coordinates(setting_, observations_[index].sizes),
                                              [&](std::size_t i) { return i == index; });
    kept = finish(posterior, stage_ms);
  }
  return *kept;
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

std::optional<std::size_t> PartModel::find(const Sizes& z) const {
  const auto order = [](const Sizes& s) {
    return std::tuple(s.heads, s.batch, s.new_tokens, s.past_tokens);
  };
  const auto found = std::lower_bound(
      observations_.begin(), observations_.end(), z,
      [&](const Observation& o, const Sizes& s) { return order(o.sizes) < order(s); });
  if (found == observations_.end() || order(found->sizes) != order(z)) return std::nullopt;
  return static_cast<std::size_t>(found - observations_.begin());
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
  std::vector<double> out(weights_.size());
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = values[i] * weights_[i];
  return out;
}

PartModel::Without::Without(const PartModel& part, std::function<bool(std::size_t)> left_out,
                            Extent extent)
    : part_(part),
      left_out_(std::move(left_out)),
      extent_(extent),
      weights_(fit_weights(part.setting_, part.observations_, part.values_, left_out_)),
      process_({part.process_.at().begin(), part.process_.at().end()},
               remainders(part.observations_, part.values_, weights_), part.parameters_.hyper,
               part.neighbours()) {
}

PartPrediction PartModel::Without::at(const Sizes& sizes,
                                      std::optional<std::size_t> left_out) const {
  const double stage_ms = std::max(dot(term_values(part_.setting_, sizes), weights_), 1e-9);
  const auto posterior = process_.posterior(coordinates(part_.setting_, sizes), [&](std::size_t i) {
    return i == left_out || (extent_ == Extent::kSlice && left_out_(i));
  });
  return part_.finish(posterior, stage_ms);
}

}  // namespace dsaperf::predict::stages
