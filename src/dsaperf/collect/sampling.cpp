#include "dsaperf/collect/sampling.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::collect {
namespace {

constexpr int kRun = 5;  // samples whose median is compared while times settle

double median_of(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  return *middle;
}

}  // namespace

Summary summarise(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::ranges::sort(samples);
  const auto n = static_cast<std::ptrdiff_t>(samples.size());
  const auto at = [&](std::ptrdiff_t index) {
    return samples[static_cast<std::size_t>(std::clamp<std::ptrdiff_t>(index, 0, n - 1))];
  };
  const auto quantile = [&](double q) {
    return at(static_cast<std::ptrdiff_t>(std::lround(q * static_cast<double>(n - 1))));
  };
  const double median = n % 2 == 1 ? at(n / 2) : (at(n / 2 - 1) + at(n / 2)) / 2;
  // Of the samples in order, those of ranks n/2 -+ 1.96 sqrt(n)/2, rounded outwards, enclose the
  // median in 95 of 100 collections or more.
  const double half = 0.98 * std::sqrt(static_cast<double>(n));
  const auto low = static_cast<std::ptrdiff_t>(std::floor(static_cast<double>(n) / 2 - half)) - 1;
  const auto high = static_cast<std::ptrdiff_t>(std::ceil(static_cast<double>(n) / 2 + half));
  const double width = at(high) - at(low);
  return {.median = {median},
          .p10 = {std::min(quantile(0.1), median)},
          .p90 = {std::max(quantile(0.9), median)},
          .count = static_cast<int>(n),
          .ci95 = median > 0 ? width / 2 / median : 0};
}

Result<std::vector<double>> sample_until(const Sample& sample, const Stopping& stopping,
                                         std::vector<double> begun, const Clock& clock) {
  auto samples = std::move(begun);
  const auto deadline = clock() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                      std::chrono::duration<double>(stopping.seconds));
  // Sorting all samples each time would cost more than they do: look again after a tenth more.
  std::size_t look_at = static_cast<std::size_t>(stopping.least);
  while (static_cast<int>(samples.size()) < stopping.most) {
    DSAPERF_TRY_ASSIGN(const Micros time, sample());
    samples.push_back(time.value);
    const auto count = static_cast<int>(samples.size());
    if (count >= std::min(stopping.fewest, stopping.least) && clock() >= deadline) break;
    if (count < stopping.least) continue;
    if (samples.size() < look_at) continue;
    if (summarise(samples).ci95 <= stopping.ci95) break;
    look_at = samples.size() + std::max<std::size_t>(1, samples.size() / 10);
  }
  return samples;
}

Result<std::vector<double>> settle(const Sample& sample, const Stopping& stopping,
                                   const Clock& clock) {
  const auto deadline = clock() + std::chrono::duration_cast<std::chrono::steady_clock::duration>(
                                      std::chrono::duration<double>(stopping.settle_seconds));
  const double long_us = 1e6 * stopping.settle_seconds / 10;
  double before = 0;
  while (true) {
    std::vector<double> run;
    for (int i = 0; i < kRun; ++i) {
      DSAPERF_TRY_ASSIGN(const Micros time, sample());
      run.push_back(time.value);
      if (time.value > long_us) break;
      if (clock() >= deadline) return std::vector<double>();
    }
    const double now = median_of(run);
    if (before > 0 && std::abs(now / before - 1) < stopping.settle) return run;
    if (clock() >= deadline) return std::vector<double>();
    before = now;
  }
}

}  // namespace dsaperf::collect
