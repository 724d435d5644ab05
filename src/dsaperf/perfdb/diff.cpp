#include "dsaperf/perfdb/diff.hpp"

#include <cmath>
#include <map>
#include <tuple>

namespace dsaperf::perfdb {
namespace {

auto key_of(const DsaTable& table, const DsaRow& row) {
  const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
  return std::tuple(slice.architecture, slice.mla_dtype, slice.kv_dtype, slice.gemm_dtype,
                    slice.shares_selection, row.heads, row.batch, row.new_tokens, row.past_tokens);
}

auto by_key(const DsaTable& table) {
  std::map<decltype(key_of(table, table.rows.front())), std::size_t> result;
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto latency = table.rows[i].latency.value;
    if (std::isfinite(latency) && latency > 0) result[key_of(table, table.rows[i])] = i;
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
    const DiffRow row{i, found->second, before.rows[i].latency / after.rows[found->second].latency};
    if (row.ratio > 1 + tolerance) {
      result.faster.push_back(row);
    } else if (row.ratio < 1 / (1 + tolerance)) {
      result.slower.push_back(row);
    } else {
      result.same.push_back(row);
    }
  }
  result.only_after = after_rows.size() - result.matched();
  return result;
}

}  // namespace dsaperf::perfdb
