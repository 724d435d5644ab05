#include "dsaperf/predict/compatible/sparse_kernels.hpp"

#include "dsaperf/core/fail.hpp"

#include <cstdlib>

namespace dsaperf::predict::compatible {
namespace {

// The entry whose key is nearest; of two the smaller.
template <typename Map>
typename Map::const_iterator nearest(const Map& map, std::int64_t key) {
  auto high = map.lower_bound(key);
  if (high == map.end()) return std::prev(high);
  if (high == map.begin() || high->first == key) return high;
  const auto low = std::prev(high);
  return key - low->first <= high->first - key ? low : high;
}

}  // namespace

SparseKernelCurve::SparseKernelCurve(const perfdb::SparseKernelTable& table,
                                     std::string_view score_mode) {
  for (const auto& row : table.rows) {
    const auto& kind = table.kinds[static_cast<std::size_t>(row.kind)];
    if (!score_mode.empty() && kind.score_mode != score_mode) continue;
    curves_[row.batch][row.new_tokens].insert_or_assign(row.past_tokens, row.latency.millis());
  }
}

Result<double> SparseKernelCurve::at(std::int64_t batch, std::int64_t new_tokens,
                                     std::int64_t past_tokens) const {
  if (curves_.empty()) return fail(Errc::kNotFound, "no rows of the sparse kernels");
  const auto& by_new = nearest(curves_, batch)->second;
  const auto longest = by_new.rbegin()->first;
  if (new_tokens > longest) {
    return fail(Errc::kNotFound,
                "{} new tokens exceed the measured {} of the sparse kernels, whose cost grows "
                "faster than linear",
                new_tokens, longest);
  }
  const auto& over_past = nearest(by_new, new_tokens)->second;
  const auto high = over_past.lower_bound(past_tokens);
  if (high == over_past.end()) return over_past.rbegin()->second;
  if (high == over_past.begin() || high->first == past_tokens) return high->second;
  const auto low = std::prev(high);
  const double t =
      static_cast<double>(past_tokens - low->first) / static_cast<double>(high->first - low->first);
  return low->second + (high->second - low->second) * t;
}

}  // namespace dsaperf::predict::compatible
