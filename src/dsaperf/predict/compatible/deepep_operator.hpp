#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/deepep_table.hpp"
#include "dsaperf/predict/compatible/latency_curve.hpp"

namespace dsaperf::predict::compatible {

enum class DeepEpSide { kDispatch, kCombine };

// One of DeepEP's two exchanges, ready to be asked for any number of tokens of a rank.
class DeepEpOperator {
 public:
  struct Shape {
    int nodes = 1;
    int hidden = 0, topk = 0, experts = 0;
    int sms = 0;  // of the normal mode
  };
  // Fails with kNotFound where the shape has no rows.
  static Result<DeepEpOperator> make(const perfdb::DeepEpTable& table, const Shape& shape,
                                     DeepEpSide side);

  // Beyond the measured sizes in proportion to the tokens.
  double ms(double tokens) const {
    return curve_.at(tokens, 1, [](double at) { return at; });
  }
  CurveRegion region(double tokens) const { return curve_.region(tokens); }

 private:
  LatencyCurve curve_;
};

}  // namespace dsaperf::predict::compatible
