#pragma once

#include "dsaperf/perfdb/dsa_table.hpp"

#include <cmath>

// Shared by what compares rows: lint.cpp, diff.cpp.
namespace dsaperf::perfdb {

// By how much the spreads of two rows widen `allowed`, a ratio of them that needs no explanation
// (0.95, or 1.03): above 1, and 1 where neither has a spread. Of each the side that faces the other
// counts, `times` what it is. The three have nothing to do with each other, so that the squares of
// their logarithms add up.
inline double spread_factor(const DsaRow& slower, const DsaRow& faster, double allowed,
                            double times = 1) {
  const double usual = std::abs(std::log(allowed));
  const double below = slower.p10.value > 0 ? std::log(slower.latency / slower.p10) : 0;
  const double above = faster.p90.value > 0 ? std::log(faster.p90 / faster.latency) : 0;
  return std::exp(std::hypot(usual, times * above, times * below) - usual);
}

}  // namespace dsaperf::perfdb
