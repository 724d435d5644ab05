#include "dsaperf/perfdb/lint_findings.hpp"

#include <cmath>
#include <string>
#include <tuple>
#include <unordered_map>

namespace dsaperf::perfdb {
namespace {

// What the two cards' rows have in common. The kernel belongs to it: a ratio between two kernels is
// no card's.
std::string shared_key(const DsaTable& table, const DsaRow& row) {
  const auto& slice = table.slices[static_cast<std::size_t>(row.slice)];
  std::string key;
  for (const auto* text : {&slice.model, &slice.architecture, &slice.mla_dtype, &slice.kv_dtype,
                           &slice.gemm_dtype, &slice.kernel_source, &slice.op_name}) {
    key += *text;
    key += '/';
  }
  for (const auto size : {row.heads, row.batch, row.new_tokens, row.past_tokens}) {
    key += std::to_string(size);
    key += ',';
  }
  return key;
}

bool usable(const DsaRow& row) {
  return row.source == 0 && std::isfinite(row.latency.value) && row.latency.value > 0;
}

}  // namespace

std::vector<LintFinding> lint_siblings(const DsaTable& table, const DsaTable& sibling, double least,
                                       double most, const LintLimits& limits) {
  std::unordered_map<std::string, double> others;
  for (const auto& row : sibling.rows) {
    if (usable(row)) others[shared_key(sibling, row)] = row.latency.value;
  }
  Findings findings(table);
  for (std::size_t i = 0; i < table.rows.size(); ++i) {
    const auto& row = table.rows[i];
    if (!usable(row)) continue;
    const auto other = others.find(shared_key(table, row));
    if (other == others.end()) continue;
    findings.looked_at(LintRule::kOutOfProportion, i);
    const double ratio = row.latency.value / other->second;
    if (ratio < least / limits.out_of_proportion || ratio > most * limits.out_of_proportion) {
      findings.add(LintRule::kOutOfProportion, i, ratio);
    }
  }
  return findings.take();
}

}  // namespace dsaperf::perfdb
