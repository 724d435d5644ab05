#include "dsaperf/predict/compatible/gemm_operator.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>
#include <unordered_map>

namespace dsaperf::predict::compatible {
namespace {

constexpr double kReach = 2;  // doublings, Euclidean
constexpr std::size_t kNeighbours = 4;
constexpr std::size_t kTail = 3;
constexpr double kSoftening = 1e-12;

// A kernel's rows hold the host's time where nearly all that should take less than kShort take more
// than twice that. All rows up to kNearHost times the most of them do, and those of products that
// should take less than half of the least: a busy host took longer.
constexpr double kShort = 0.02;  // ms
constexpr std::size_t kFewRows = 30;
constexpr double kNearHost = 1.2;

// What the host takes, in ms; 0 where rows are the kernel's.
struct HostTimes {
  double least = 0, most = 0;
  bool are(double measured, double kernel) const {
    return measured <= kNearHost * most || 2 * kernel < least;
  }
};

// By kind.
std::vector<HostTimes> host_times(const perfdb::GemmTable& table, std::string_view dtype,
                                  const GemmBound& bound, const modelled::OperatorCost& cost) {
  std::vector<std::vector<double>> of_short(table.kinds.size());
  for (const auto& row : table.rows)
    if (table.kinds[static_cast<std::size_t>(row.kind)].gemm_dtype == dtype &&
        cost.ms(bound.parts(row.m, row.n, row.k)) < kShort)
      of_short[static_cast<std::size_t>(row.kind)].push_back(row.latency.millis());
  std::vector<HostTimes> result;
  for (auto& times : of_short) {
    std::ranges::sort(times);
    const auto at = [&](double part) {
      return times[static_cast<std::size_t>(part * static_cast<double>(times.size() - 1))];
    };
    const bool is_host = times.size() >= kFewRows && at(0.05) > 2 * kShort;
    result.push_back(is_host ? HostTimes{.least = at(0.05), .most = at(0.95)} : HostTimes{});
  }
  return result;
}

}  // namespace

Result<GemmBound> GemmBound::make(const perfdb::SystemFile& system, std::string_view dtype) {
  DSAPERF_TRY_ASSIGN(const auto traits, dtype_traits(dtype));
  DSAPERF_TRY_ASSIGN(const double rate, system.rate(traits.rate));
  return GemmBound{
      .flop_per_s = rate, .bytes_per_s = system.mem_bw, .bytes_per_value = traits.bytes};
}

template <typename PointOf>
void GemmSites::add_rows(const perfdb::GemmTable& table, std::string_view dtype,
                         const PointOf& point_of) {
  std::vector<bool> wanted;
  for (const auto& kind : table.kinds) wanted.push_back(kind.gemm_dtype == dtype);
  std::unordered_map<std::uint64_t, std::size_t> index;
  std::vector<std::vector<LatencyCurve::Point>> points;
  for (const auto& row : table.rows) {
    if (!wanted[static_cast<std::size_t>(row.kind)]) continue;
    const std::uint64_t key = (std::uint64_t{static_cast<std::uint32_t>(row.n)} << 32) |
                              static_cast<std::uint32_t>(row.k);
    const auto [entry, fresh] = index.try_emplace(key, sites_.size());
    if (fresh) {
      sites_.push_back(
          {.n = static_cast<double>(row.n), .k = static_cast<double>(row.k), .over_m = {}});
      points.emplace_back();
    }
    points[entry->second].push_back(point_of(row));
  }
  for (std::size_t i = 0; i < sites_.size(); ++i)
    sites_[i].over_m = LatencyCurve::from_points(std::move(points[i]));
}

GemmSites::GemmSites(const perfdb::GemmTable& table, std::string_view dtype, GemmBound bound)
    : bound_(bound) {
  add_rows(table, dtype, [&](const perfdb::GemmRow& row) {
    return LatencyCurve::Point{
        .size = static_cast<double>(row.m),
        .ms = std::max(row.latency.millis(), bound_.ms(row.m, row.n, row.k))};
  });
}

GemmSites GemmSites::of_kernels(const perfdb::GemmTable& table, std::string_view dtype,
                                GemmBound bound, const modelled::OperatorCost& cost) {
  GemmSites sites(bound);
  const auto host = host_times(table, dtype, bound, cost);
  sites.add_rows(table, dtype, [&](const perfdb::GemmRow& row) {
    const auto parts = bound.parts(row.m, row.n, row.k);
    LatencyCurve::Point point{.size = static_cast<double>(row.m),
                              .ms = std::max(row.latency.millis(), parts.ms())};
    const double kernel = cost.ms(parts);
    if (kernel < point.ms && host[static_cast<std::size_t>(row.kind)].are(point.ms, kernel)) {
      point.ms = kernel;
      point.is_modelled = true;
    }
    return point;
  });
  return sites;
}

GemmSites GemmSites::modelled(const modelled::OperatorCost& cost, GemmBound bound, double n,
                              double k) {
  GemmSites sites(bound);
  sites.sites_.push_back({.n = n, .k = k, .over_m = LatencyCurve::modelled([&](double m) {
                                            return cost.ms(bound.parts(m, n, k));
                                          })});
  return sites;
}

Result<GemmOperator> GemmOperator::make(std::shared_ptr<const GemmSites> sites, double n,
                                        double k) {
  GemmOperator gemm(std::move(sites), n, k);
  const auto& all = gemm.sites_->sites();
  const auto own = std::find_if(all.begin(), all.end(),
                                [&](const auto& site) { return site.n == n && site.k == k; });
  if (own != all.end()) {
    gemm.own_ = &*own;
    return gemm;
  }
  double most_n = 0, least_n = INFINITY, most_k = 0, least_k = INFINITY;
  for (const auto& site : all) {
    const double dn = std::log2(site.n) - std::log2(n);
    const double dk = std::log2(site.k) - std::log2(k);
    gemm.neighbours_.push_back(
        {.site = &site, .distance = std::sqrt(dn * dn + dk * dk), .eligible = false});
    most_n = std::max(most_n, site.n);
    least_n = std::min(least_n, site.n);
    most_k = std::max(most_k, site.k);
    least_k = std::min(least_k, site.k);
  }
  std::stable_sort(gemm.neighbours_.begin(), gemm.neighbours_.end(),
                   [](const Neighbour& a, const Neighbour& b) { return a.distance < b.distance; });
  bool any = false;
  for (Neighbour& near : gemm.neighbours_) any |= near.eligible = near.distance <= kReach;
  // A shape larger than all measured ones in one dimension alone may be carried further.
  if (!any && (n > most_n) != (k > most_k) && n >= least_n && k >= least_k) {
    for (Neighbour& near : gemm.neighbours_) {
      const double rest = n > most_n ? std::log2(near.site->k / k) : std::log2(near.site->n / n);
      any |= near.eligible = std::abs(rest) <= kReach;
    }
  }
  if (!any)
    return fail(Errc::kNotFound, "no measured GEMM near n {}, k {} ({} shapes measured)", n, k,
                gemm.neighbours_.size());
  std::erase_if(gemm.neighbours_, [](const Neighbour& near) { return !near.eligible; });
  return gemm;
}

double GemmOperator::site_ms(const GemmSites::Site& site, double m) const {
  return site.over_m.at(m, kTail,
                        [&](double at) { return sites_->bound().ms(at, site.n, site.k); });
}

double GemmOperator::ms(double m) const {
  return own_ != nullptr ? site_ms(*own_, m) : neighbours_ms(m);
}

double GemmOperator::neighbours_ms(double m) const {
  // Shapes measured at this m come first; where there is none, every shape is held at its end.
  const bool any_covers =
      std::any_of(neighbours_.begin(), neighbours_.end(),
                  [&](const Neighbour& near) { return near.site->over_m.covers(m); });
  double utilisation = 0;
  double weights = 0;
  std::size_t taken = 0;
  for (const Neighbour& near : neighbours_) {
    if (any_covers && !near.site->over_m.covers(m)) continue;
    const double weight = 1 / (near.distance * near.distance + kSoftening);
    utilisation +=
        weight * sites_->bound().ms(m, near.site->n, near.site->k) / site_ms(*near.site, m);
    weights += weight;
    if (++taken == kNeighbours) break;
  }
  return sites_->bound().ms(m, n_, k_) / (utilisation / weights);
}

CurveRegion GemmOperator::region(double m) const {
  if (own_ != nullptr) return own_->over_m.region(m);
  const auto region = neighbours_.front().site->over_m.region(m);
  return region == CurveRegion::kExact ? CurveRegion::kInside : region;
}

}  // namespace dsaperf::predict::compatible
