#pragma once

#include "dsaperf/serving/pass_operators.hpp"

#include <array>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::serving {

// Of one line of a pass: what its operators would take at best, each by what limits it.
struct LineBound {
  std::array<double, 3> ms_by_limit{};  // by Limit
  struct Stage {
    std::string name;
    double ms = 0;
    double bound_ms = 0;
    std::string_view binds;  // empty: no bound
  };
  std::vector<Stage> stages;  // of sparse attention: what the line's time is made of

  double ms() const { return ms_by_limit[0] + ms_by_limit[1] + ms_by_limit[2]; }
  Limit binds() const;  // the largest part
};

// `time` is the line's own at these sizes. Operators without a bound (DeepEP's exchanges, the
// kernels of DeepSeek-V3's attention) count none.
LineBound bound_of(const PassItem& item, const PassSizes& sizes, const OperatorTime& time);

}  // namespace dsaperf::serving
