#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/deepep_table.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/predict/compatible/latency_curve.hpp"

#include <string>
#include <string_view>

namespace dsaperf::predict::compatible {

enum class DeepEpSide { kDispatch, kCombine };

// One of DeepEP's two exchanges, ready to be asked for any number of tokens of a rank.
class DeepEpOperator {
 public:
  struct Shape {
    int ranks = 1;     // of expert parallelism
    int per_node = 8;  // GPUs of a node
    int hidden = 0, topk = 0, experts = 0;
    int sms = 0;        // of the normal mode
    std::string dtype;  // of the experts: what is sent depends on it
    // Ranks over several nodes without rows of their own take those of one full node, as they are.
    bool one_node_for_all = false;

    int nodes() const { return (ranks + per_node - 1) / per_node; }
  };
  // Fail with kNotFound where the shape has no rows. SGLang's rows, which are of eight ranks a
  // node:
  static Result<DeepEpOperator> make(const perfdb::DeepEpTable& table, const Shape& shape,
                                     DeepEpSide side);
  // and those of the other engines, by the name of the exchange ("deepep_ht", "trtllm_deepep_ll").
  static Result<DeepEpOperator> make(const perfdb::MoeA2aTable& table, std::string_view exchange,
                                     const Shape& shape, DeepEpSide side);

  // Beyond the measured sizes in proportion to the tokens.
  double ms(double tokens) const {
    return curve_.at(tokens, 1, [](double at) { return at; });
  }
  CurveRegion region(double tokens) const { return curve_.region(tokens); }

 private:
  template <typename Rows>
  static Result<DeepEpOperator> nearest(const Shape& shape, int node_width, const Rows& rows);

  LatencyCurve curve_;
};

}  // namespace dsaperf::predict::compatible
