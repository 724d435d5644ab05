#include "dsaperf/perfdb/diff.hpp"

#include "dsaperf/perfdb/row_key.hpp"
#include "dsaperf/perfdb/row_spread.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace dsaperf::perfdb {
namespace {

auto by_key(const DsaTable& table) {
  std::map<decltype(row_key(table, table.rows.front())), std::size_t> result;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto latency = table.rows[i].latency.value;
    if (std::isfinite(latency) && latency > 0) result[row_key(table, table.rows[i])] = i;
  }
  return result;
}

}  // namespace

double TableDiff::geometric_mean() const {
  double sum = 0;
  for (const auto* rows : {&faster, &slower, &same}) {
    for (const auto& row : *rows) sum += std::log(row.ratio);
  }
  return matched() == 0 ? 1 : std::exp(sum / static_cast<double>(matched()));
}

TableDiff diff(const DsaTable& before, const DsaTable& after, double tolerance) {
  const auto before_rows = by_key(before);
  const auto after_rows = by_key(after);
  TableDiff result;
  for (const auto& [key, i] : before_rows) {
    const auto found = after_rows.find(key);
    if (found == after_rows.end()) {
      ++result.only_before;
      continue;
    }
    const auto& was = before.rows[i];
    const auto& is = after.rows[found->second];
    const DiffRow row{i, found->second, was.latency / is.latency};
    const double allowed = 1 + tolerance;
    if (row.ratio > allowed * spread_factor(was, is, allowed)) {
      result.faster.push_back(row);
    } else if (row.ratio < 1 / (allowed * spread_factor(is, was, allowed))) {
      result.slower.push_back(row);
    } else {
      result.same.push_back(row);
    }
  }
  result.only_after = after_rows.size() - result.matched();
  return result;
}

std::string_view name(Regime regime) {
  switch (regime) {
    case Regime::kDense:
      return "dense";
    case Regime::kSparse:
      return "sparse";
    case Regime::kSparseLarge:
      return "sparse_8192_tokens";
  }
  return "unknown";
}

std::vector<DiffGroup> groups(const DsaTable& before, const TableDiff& diff,
                              const std::function<int(const DsaSlice&)>& topk) {
  constexpr std::int64_t kLarge = 8192;
  const auto regime_of = [&](const DsaRow& row) {
    const auto& slice = before.slices[static_cast<std::size_t>(row.slice)];
    if (row.total() <= topk(slice)) return Regime::kDense;
    const bool large =
        before.phase == Phase::kContext && std::int64_t{row.batch} * row.new_tokens >= kLarge;
    return large ? Regime::kSparseLarge : Regime::kSparse;
  };
  std::map<std::pair<Regime, std::int32_t>, DiffGroup> by_key;
  for (const auto* rows : {&diff.faster, &diff.slower, &diff.same}) {
    for (const auto& matched : *rows) {
      const auto& row = before.rows[matched.before];
      auto& group = by_key[{regime_of(row), row.heads}];
      if (group.rows == 0) group.geometric_mean = 0;  // the sum of logarithms for now
      group.geometric_mean += std::log(matched.ratio);
      group.worst = group.rows == 0 ? matched.ratio : std::min(group.worst, matched.ratio);
      if (matched.ratio >= 1) ++group.ahead;
      ++group.rows;
    }
  }
  std::vector<DiffGroup> result;
  for (auto& [key, group] : by_key) {
    group.regime = key.first;
    group.heads = key.second;
    group.geometric_mean = std::exp(group.geometric_mean / static_cast<double>(group.rows));
    result.push_back(group);
  }
  return result;
}

}  // namespace dsaperf::perfdb
