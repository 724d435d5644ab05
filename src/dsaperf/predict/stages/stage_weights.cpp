#include "dsaperf/predict/stages/stage_weights.hpp"

#include "dsaperf/predict/stages/host_time.hpp"
#include "dsaperf/predict/stages/nnls.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace dsaperf::predict::stages {
namespace {

constexpr double kMisfit = 0.05;  // relative error that halves what a row counts
// The pull to the usual weights: a small part of what each column has to say.
constexpr double kUsualPull = 2e-3;
constexpr double kHiddenPull = 0.1;  // of what rows say nothing of
constexpr Eigen::Index kHostTerms = 2;
// Some sum of lengths has to be so many times the new tokens for what grows with one to be told
// from what grows with the other.
constexpr double kTellingLengths = 2;

double trust(double error) {
  return 1 / (1 + error * error / (kMisfit * kMisfit));
}

// The normal equations of rows that are weighted and dropped at once.
class NormalEquations {
 public:
  explicit NormalEquations(Eigen::Index columns)
      : gram_(Eigen::MatrixXd::Zero(columns, columns)), moment_(Eigen::VectorXd::Zero(columns)) {}

  void set(const Eigen::MatrixXd& rows, const Eigen::VectorXd& right,
           const Eigen::VectorXd& weights) {
    const Eigen::MatrixXd weighted = weights.asDiagonal() * rows;
    gram_.noalias() = weighted.transpose() * rows;
    moment_.noalias() = weighted.transpose() * right;
  }
  void pull(Eigen::Index column, double strength, double to) {
    gram_(column, column) += strength;
    moment_[column] += strength * to;
  }
  Eigen::VectorXd solve() const { return non_negative_least_squares(gram_, moment_); }

 private:
  Eigen::MatrixXd gram_;
  Eigen::VectorXd moment_;
};

struct Rows {
  Eigen::MatrixXd terms;    // of the rows that count, in milliseconds
  Eigen::VectorXd latency;  // the same
  Eigen::Matrix<double, Eigen::Dynamic, kHostTerms> host;  // score_pieces_ms, contexts_ms
  Eigen::VectorXd said;                                    // by each term, of relative errors
  // What grows with the sum of lengths cannot be told from something else: the host's work for
  // them, or in a table of short prefixes what grows with the new tokens.
  bool hide_contexts = false;
};

Rows rows_of(const Setting& setting, const std::vector<Observation>& observations,
             std::span<const TermValues> values, const std::function<bool(std::size_t)>& left_out,
             bool has_host) {
  const auto count = static_cast<Eigen::Index>(terms(setting.phase, setting.regime).size());
  std::vector<std::size_t> kept;
  kept.reserve(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!left_out || !left_out(i)) kept.push_back(i);
  }
  const auto size = static_cast<Eigen::Index>(kept.size());
  Rows rows{.terms = Eigen::MatrixXd(size, count),
            .latency = Eigen::VectorXd(size),
            .host = {size, kHostTerms},
            .said = Eigen::VectorXd::Constant(count, 1e-12)};
  bool tell_contexts = false;
  for (Eigen::Index r = 0; r < size; ++r) {
    const auto i = kept[static_cast<std::size_t>(r)];
    rows.latency[r] = observations[i].latency_ms;
    rows.host(r, 0) = score_pieces_ms(setting, observations[i].sizes);
    rows.host(r, 1) = contexts_ms(setting, observations[i].sizes);
    const auto& sizes = observations[i].sizes;
    tell_contexts |= sizes.batch * sizes.total() > kTellingLengths * sizes.tokens();
    for (Eigen::Index c = 0; c < count; ++c) {
      const double value = values[i][static_cast<std::size_t>(c)];
      rows.terms(r, c) = value;
      rows.said[c] += value * value / (rows.latency[r] * rows.latency[r]);
    }
  }
  // Where all that is cached are a few tokens (vLLM's tables have 0 and 128), the host's work for
  // each of them would stand for what kernels do for each new one, and long prefixes would take a
  // hundred times as long.
  const bool have_contexts = rows.host.col(1).any();
  rows.hide_contexts = have_contexts && (!tell_contexts || has_host);
  if (!tell_contexts) rows.host.col(1).setZero();
  return rows;
}

// Without a floor: linear, each row divided by its latency. A second pass trusts rows that the
// terms cannot follow (another kernel, a defect) less.
StageWeights fit_kernels(const Rows& rows, std::span<const Term> list) {
  const auto count = rows.terms.cols();
  const Eigen::MatrixXd relative = rows.latency.cwiseInverse().asDiagonal() * rows.terms;
  const Eigen::VectorXd ones = Eigen::VectorXd::Ones(rows.latency.size());
  NormalEquations equations(count);
  const auto solve = [&](const Eigen::VectorXd& weights) {
    equations.set(relative, ones, weights);
    for (Eigen::Index c = 0; c < count; ++c) {
      const auto& term = list[static_cast<std::size_t>(c)];
      const bool hidden = term.by_contexts && rows.hide_contexts;
      equations.pull(c, (hidden ? kHiddenPull : kUsualPull) * rows.said[c], term.usual);
    }
    return equations.solve();
  };
  Eigen::VectorXd x = solve(ones);
  x = solve((relative * x - ones).unaryExpr([](double error) { return trust(error); }));
  return {.terms = {x.data(), x.data() + x.size()}, .score_pieces = 0, .contexts = 0};
}

// Weights and, behind them, the host's.
Eigen::VectorXd start_of(std::span<const Term> list, const StageWeights* start) {
  constexpr double kSmall = 1e-3;
  const auto count = static_cast<Eigen::Index>(list.size());
  Eigen::VectorXd x(count + kHostTerms);
  for (Eigen::Index c = 0; c < count; ++c) {
    const auto i = static_cast<std::size_t>(c);
    x[c] = start != nullptr ? start->terms[i] : std::max(list[i].usual, kSmall);
  }
  if (start != nullptr)
    x.tail<kHostTerms>() << start->score_pieces, start->contexts;
  else
    x.tail<kHostTerms>().setOnes();
  return x;
}

// With a floor: log of with_host_time(floor + host * c, terms * x), by its slopes (Gauss and
// Newton). A row where the host is waited for says little of the kernels, and the reverse.
StageWeights fit_with_host(const Rows& rows, std::span<const Term> list, double floor,
                           const StageWeights* start) {
  constexpr int kSteps = 10;
  constexpr int kStepsFromStart = 3;
  constexpr int kTrustingSteps = 2;
  constexpr double kMostError = 1;  // in log: farther away slopes say nothing
  constexpr double kHostPull = 2e-4;
  const auto count = rows.terms.cols();
  const auto size = rows.latency.size();
  Eigen::VectorXd x = start_of(list, start);
  const Eigen::RowVectorXd host_said =
      (rows.latency.cwiseInverse().asDiagonal() * rows.host).colwise().squaredNorm().array() +
      1e-12;
  Eigen::MatrixXd slopes(size, count + kHostTerms);
  Eigen::VectorXd right(size);
  Eigen::VectorXd weights(size);
  NormalEquations equations(count + kHostTerms);
  const int steps = start != nullptr ? kStepsFromStart : kSteps;
  for (int step = 0; step < steps; ++step) {
    const Eigen::VectorXd gpu = (rows.terms * x.head(count)).cwiseMax(1e-9);
    for (Eigen::Index r = 0; r < size; ++r) {
      const double host = floor + rows.host.row(r).dot(x.tail<kHostTerms>());
      const double waited = host_share(host, gpu[r]);
      const double error = std::clamp(std::log(rows.latency[r] / with_host_time(host, gpu[r])),
                                      -kMostError, kMostError);
      slopes.row(r).head(count) = (1 - waited) / gpu[r] * rows.terms.row(r);
      slopes.row(r).tail<kHostTerms>() = waited / host * rows.host.row(r);
      right[r] = error + 1 - waited * floor / host;
      weights[r] = start == nullptr && step < kTrustingSteps ? 1 : trust(error);
    }
    equations.set(slopes, right, weights);
    for (Eigen::Index c = 0; c < count; ++c) {
      const auto& term = list[static_cast<std::size_t>(c)];
      // What does not grow with the tokens lies under the floor, and what grows as the host's own
      // work does cannot be told from it: rows say nothing of either.
      const bool hidden = term.hidden || (term.by_contexts && rows.hide_contexts);
      equations.pull(c, (hidden ? kHiddenPull : kUsualPull) * rows.said[c],
                     term.hidden.value_or(term.usual));
    }
    for (Eigen::Index c = 0; c < kHostTerms; ++c)
      equations.pull(count + c, kHostPull * host_said[c], 0);
    const Eigen::VectorXd next = equations.solve();
    // Halves from afar, where slopes mislead; a refit starts near its end and keeps nothing of it.
    x = start != nullptr || step == 0 ? next : Eigen::VectorXd((x + next) / 2);
  }
  return {
      .terms = {x.data(), x.data() + count}, .score_pieces = x[count], .contexts = x[count + 1]};
}

}  // namespace

double StageWeights::kernels_ms(const TermValues& values) const {
  // In four sums, each of which waits for its own last addition alone.
  constexpr std::size_t kSums = 4;
  std::array<double, kSums> sums{};
  std::size_t i = 0;
  for (; i + kSums <= terms.size(); i += kSums) {
    for (std::size_t s = 0; s < kSums; ++s) sums[s] += values[i + s] * terms[i + s];
  }
  for (; i < terms.size(); ++i) sums[0] += values[i] * terms[i];
  return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

double StageWeights::host_ms(const Setting& setting, const Sizes& sizes, double floor) const {
  if (floor <= 0) return 0;
  return setting.host_launch * (floor + score_pieces * score_pieces_ms(setting, sizes) +
                                contexts * contexts_ms(setting, sizes));
}

StageWeights fit_weights(const Setting& setting, const std::vector<Observation>& observations,
                         std::span<const TermValues> values, double floor,
                         const std::function<bool(std::size_t)>& left_out,
                         const StageWeights* start) {
  const auto rows = rows_of(setting, observations, values, left_out, floor > 0);
  const auto list = terms(setting.phase, setting.regime);
  return floor > 0 ? fit_with_host(rows, list, floor, start) : fit_kernels(rows, list);
}

StageWeights fit_weights(const Setting& setting, const std::vector<Observation>& observations,
                         double floor) {
  std::vector<TermValues> values;
  values.reserve(observations.size());
  const SettingTerms of_setting(setting);
  for (const auto& o : observations) values.push_back(of_setting.values(o.sizes));
  return fit_weights(setting, observations, values, floor);
}

}  // namespace dsaperf::predict::stages
