#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/operator_tables.hpp"
#include "dsaperf/perfdb/system_file.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"
#include "dsaperf/predict/compatible/latency_curve.hpp"
#include "dsaperf/predict/modelled/operator_costs.hpp"

#include <string>

namespace dsaperf::predict::compatible {

// The grouped GEMMs of a layer's routed experts on one rank.
struct MoeShape {
  std::string dtype;         // "fp8_block"
  std::string distribution;  // load over experts: "power_law_1.01", "balanced"
  int hidden = 0, inter = 0, topk = 0, experts = 0;
  int moe_tp = 1, moe_ep = 1;
};

// One MoE of a model, ready to be asked for any number of tokens (of all attention ranks together).
class MoeOperator {
 public:
  // A distribution without rows falls back to "uniform". Fails with kNotFound where the shape has
  // no rows.
  static Result<MoeOperator> make(const perfdb::MoeTable& table, const perfdb::SystemFile& system,
                                  MoeShape shape);
  // A shape without rows: the busiest rank's tokens, padded to tiles of an expert.
  static Result<MoeOperator> modelled(const modelled::OperatorCost& cost,
                                      const perfdb::SystemFile& system, MoeShape shape);

  double ms(double tokens) const {
    return curve(tokens).at(tokens, 1, [this](double at) { return bound(at).ms(); });
  }
  BoundParts bound(double tokens) const;
  // Without aiconfigurator's roundings, and with the weights of the experts alone that an even load
  // is expected to reach: of few tokens some have none.
  BoundParts least(double tokens) const;
  // What modelled() weighs: as least(), of a rank with `skew` times the mean's tokens, in whole
  // tiles.
  BoundParts padded(double tokens, double skew) const;
  CurveRegion region(double tokens) const { return curve(tokens).region(tokens); }

 private:
  static constexpr double kFewTokens = 128;
  const LatencyCurve& curve(double tokens) const {
    return tokens <= kFewTokens && !few_.empty() ? few_ : curve_;
  }
  // Rows that reach an expert, among experts that get some, and rows that tiles add.
  BoundParts of_rows(double rows, double reached, double added) const;
  double reached_experts(double tokens) const;
  static Result<MoeOperator> without_rows(const perfdb::SystemFile& system,
                                          const std::string& dtype);

  MoeShape shape_;
  double flop_per_s_ = 0, bytes_per_s_ = 0, bytes_per_value_ = 0;
  LatencyCurve curve_;
  LatencyCurve few_;  // NVFP4 on TensorRT-LLM: its kernel of few tokens
};

}  // namespace dsaperf::predict::compatible
