#include "dsaperf/kernels/topk.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace dsaperf::kernels {

Result<void> topk_check(const TopkParams& params) {
  const auto& p = params;
  if (p.rows < 0) return fail(Errc::kInvalidArgument, "topk: rows {} < 0", p.rows);
  if (p.columns < 0) return fail(Errc::kInvalidArgument, "topk: columns {} < 0", p.columns);
  if (p.columns > INT32_MAX)
    return fail(Errc::kInvalidArgument, "topk: columns {} do not fit an int32", p.columns);
  if (p.topk < 1) return fail(Errc::kInvalidArgument, "topk: topk {} < 1", p.topk);
  if (p.rows_per_end < 1 || p.rows % p.rows_per_end != 0)
    return fail(Errc::kInvalidArgument, "topk: rows_per_end {} does not divide rows {}",
                p.rows_per_end, p.rows);
  if (p.rows == 0) return {};
  if (p.indices == nullptr) return fail(Errc::kInvalidArgument, "topk: indices is null");
  if (p.columns > 0 && p.scores == nullptr)
    return fail(Errc::kInvalidArgument, "topk: scores is null");
  if (p.rows > 1 && p.scores_stride < p.columns)
    return fail(Errc::kInvalidArgument, "topk: scores_stride {} < columns {}", p.scores_stride,
                p.columns);
  if (p.rows > 1 && p.indices_stride < p.topk)
    return fail(Errc::kInvalidArgument, "topk: indices_stride {} < topk {}", p.indices_stride,
                p.topk);
  return {};
}

Result<void> topk_reference(const TopkParams& params) {
  DSAPERF_TRY(topk_check(params));
  const auto& p = params;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const std::int64_t start =
        p.start == nullptr ? 0 : std::clamp<std::int64_t>(p.start[r], 0, p.columns);
    std::int64_t end = p.columns;
    if (p.end != nullptr) {
      const std::int64_t shared_end = p.end[r / p.rows_per_end];
      end = std::clamp<std::int64_t>(shared_end - p.rows_per_end + 1 + r % p.rows_per_end, start,
                                     p.columns);
    }
    const float* scores = end > start ? p.scores + r * p.scores_stride + start : nullptr;
    std::vector<std::int32_t> order(end - start);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [scores](std::int32_t a, std::int32_t b) {
      if (std::isnan(scores[a]) || std::isnan(scores[b]))
        return !std::isnan(scores[a]) && std::isnan(scores[b]);
      return scores[a] > scores[b];
    });
    order.resize(p.topk, -1);
    std::copy(order.begin(), order.end(), p.indices + r * p.indices_stride);
  }
  return {};
}

}  // namespace dsaperf::kernels
