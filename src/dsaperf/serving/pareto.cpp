#include "dsaperf/serving/pareto.hpp"

#include "dsaperf/serving/disaggregated_pairs.hpp"

#include <algorithm>
#include <cstddef>
#include <ranges>

namespace dsaperf::serving {
namespace {

constexpr std::size_t kRowsATarget = 10;

// The points with the most requests a second within two limits.
std::vector<std::size_t> best_rows(const std::vector<Candidate>& points, double ttft_ms,
                                   double tpot_ms) {
  std::vector<std::size_t> rows;
  for (std::size_t i = 0; i < points.size(); ++i)
    if (points[i].form.tpot_ms <= tpot_ms && points[i].form.ttft_ms <= ttft_ms) rows.push_back(i);
  std::stable_sort(rows.begin(), rows.end(), [&](std::size_t a, std::size_t b) {
    return three_decimals(points[a].form.request_s) > three_decimals(points[b].form.request_s);
  });
  if (rows.size() > kRowsATarget) rows.resize(kRowsATarget);
  return rows;
}

}  // namespace

std::vector<Candidate> points_for_front(const std::vector<Candidate>& points,
                                        const SweepInputs& inputs) {
  std::vector<bool> kept(points.size(), false);
  if (inputs.method == Method::kCompatible) {
    for (const double target : tpot_targets())
      for (const std::size_t row : best_rows(points, inputs.ttft_limit_ms, target))
        kept[row] = true;
  } else {
    for (std::size_t i = 0; i < points.size(); ++i)
      kept[i] = points[i].form.ttft_ms <= inputs.ttft_limit_ms;
  }
  std::vector<Candidate> list;
  for (std::size_t i = 0; i < points.size(); ++i)
    if (kept[i]) list.push_back(points[i]);
  return list;
}

std::vector<Candidate> pareto_front(std::vector<Candidate> points, int cluster_gpus) {
  const auto user = [](const Candidate& c) { return three_decimals(c.tok_s_per_user()); };
  // A rate is rounded, its share of the cluster is not: so aiconfigurator's front has it.
  const auto gpu = [&](const Candidate& c) {
    return three_decimals(c.tok_s_per_gpu()) * c.share_of(cluster_gpus);
  };
  std::stable_sort(points.begin(), points.end(), [&](const Candidate& a, const Candidate& b) {
    return user(a) != user(b) ? user(a) < user(b) : gpu(a) < gpu(b);
  });
  std::vector<Candidate> front;
  double best = -1;
  for (const Candidate& candidate : std::ranges::reverse_view(points)) {
    if (gpu(candidate) <= best) continue;
    best = gpu(candidate);
    front.push_back(candidate);
  }
  std::reverse(front.begin(), front.end());
  return front;
}

}  // namespace dsaperf::serving
