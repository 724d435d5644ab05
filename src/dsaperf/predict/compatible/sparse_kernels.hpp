#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict::compatible {

// Latency of one kernel of the selection over (batch, new tokens, past tokens), as aiconfigurator
// looks it up for context parallelism: the batch that was measured, else the nearest; the nearest
// number of new tokens (of two the smaller), an error beyond the largest; linear over the past,
// clamped at its ends.
class SparseKernelCurve {
 public:
  // `score_mode` selects rows of the top-k table; empty: all rows.
  SparseKernelCurve(const perfdb::SparseKernelTable& table, std::string_view score_mode);

  bool empty() const { return curves_.empty(); }
  Result<double> at(std::int64_t batch, std::int64_t new_tokens,
                    std::int64_t past_tokens) const;  // ms

 private:
  using OverPast = std::map<std::int64_t, double>;
  std::map<std::int64_t, std::map<std::int64_t, OverPast>> curves_;  // batch, new tokens
};

}  // namespace dsaperf::predict::compatible
