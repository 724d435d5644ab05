#pragma once

#include "dsaperf/perfdb/lint.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

// Shared by the rules of lint.cpp and lint_siblings.cpp.
namespace dsaperf::perfdb {

inline double quantile(std::vector<double> values, double q) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto position = q * static_cast<double>(values.size() - 1);
  return values[static_cast<std::size_t>(std::lround(position))];
}

// Collects what a rule finds, a finding per slice.
class Findings {
 public:
  explicit Findings(const DsaTable& table) : table_(table) {}

  void looked_at(LintRule rule, std::size_t row) { ++entry(rule, row).finding.compared; }

  void add(LintRule rule, std::size_t row, double ratio) {
    auto& found = entry(rule, row);
    found.finding.rows.push_back(row);
    found.ratios.push_back(ratio);
  }

  std::vector<LintFinding> take() {
    std::vector<LintFinding> result;
    for (auto& [key, found] : entries_) {
      if (found.finding.rows.empty()) continue;
      std::sort(found.finding.rows.begin(), found.finding.rows.end());
      found.finding.median_ratio = quantile(found.ratios, 0.5);
      // The worst is the one farthest from 1, whichever side the rule looks at.
      for (const double ratio : found.ratios) {
        if (std::abs(std::log(std::max(ratio, 1e-12))) >
                std::abs(std::log(std::max(found.finding.worst_ratio, 1e-12))) ||
            found.finding.worst_ratio == 0) {
          found.finding.worst_ratio = ratio;
        }
      }
      result.push_back(std::move(found.finding));
    }
    return result;
  }

 private:
  struct Found {
    LintFinding finding;
    std::vector<double> ratios;
  };
  Found& entry(LintRule rule, std::size_t row) {
    const auto slice = table_.rows[row].slice;
    auto& found = entries_[{rule, slice}];
    found.finding.rule = rule;
    found.finding.slice = slice;
    return found;
  }

  const DsaTable& table_;
  std::map<std::pair<LintRule, std::int32_t>, Found> entries_;
};

}  // namespace dsaperf::perfdb
