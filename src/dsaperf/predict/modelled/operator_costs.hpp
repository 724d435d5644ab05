#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/predict/compatible/dsa_bound.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace dsaperf::predict::modelled {

// What an operator without rows costs: a fixed time, and its bound at the parts of the card's rates
// that kernels reach. Each is physical: the time to launch a kernel and to fill the card, a share
// of the peak rate, of the peak bandwidth, of a link.
struct OperatorCost {
  double fixed_us = 0;
  double math_share = 1;
  double memory_share = 1;
  double link_share = 1;
  // Of experts: the busiest of n expert-parallel ranks has n^rank_skew times the mean's tokens.
  double rank_skew = 0;

  double ms(const compatible::BoundParts& bound) const {
    return fixed_us / 1e3 + std::max(bound.math_ms / math_share, bound.memory_ms / memory_share);
  }
  double link_ms(double bound_ms) const { return fixed_us / 1e3 + bound_ms / link_share; }
};

// Columns of data/serving/modelled.csv, in its order.
struct CostField {
  std::string_view name;
  double OperatorCost::* value;
};
inline constexpr std::array<CostField, 5> kCostFields = {
    {{"fixed_us", &OperatorCost::fixed_us},
     {"math_share", &OperatorCost::math_share},
     {"memory_share", &OperatorCost::memory_share},
     {"link_share", &OperatorCost::link_share},
     {"rank_skew", &OperatorCost::rank_skew}}};

// The constants of data/serving/modelled.csv, which `dsaperf db modelled --fit` derives.
class OperatorCosts {
 public:
  static Result<OperatorCosts> shipped();
  // Fails with kParse where an operator ("gemm", "moe", "all_reduce", "collective", "memory") has
  // no row for any format.
  static Result<OperatorCosts> read(const std::filesystem::path& path);

  // The operator's row of the format, else its row for any.
  const OperatorCost& of(std::string_view op, std::string_view format = "") const;

 private:
  std::map<std::string, std::map<std::string, OperatorCost, std::less<>>, std::less<>> costs_;
};

}  // namespace dsaperf::predict::modelled
