#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/modelled/operator_costs.hpp"

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

// How far operators that are modelled are from the rows of tables, and the constants that bring
// them nearest: where data/serving/modelled.csv comes from.
namespace dsaperf::predict::modelled {

// The routed experts of a model: rows of other shapes do not count.
struct ExpertShape {
  int hidden = 0, inter = 0, topk = 0, experts = 0;
};

// A row of a table, and the same operator as a function of the constants.
struct CostSample {
  double measured_ms = 0;
  std::function<double(const OperatorCost&)> modelled_ms;
};

// Rows of one operator and format: "gemm" of each dtype, "moe" of each dtype (power_law_1.01 over
// up to 8 ranks), "all_reduce" (the engine's own, inside a node), "collective" (NCCL's all-gather
// and reduce-scatter of halves).
struct CostSamples {
  std::string op, format;
  std::vector<CostSample> rows;
};
Result<std::vector<CostSamples>> cost_samples(const perfdb::SystemsTree& tree,
                                              std::string_view system, std::string_view backend,
                                              const std::vector<ExpertShape>& experts);

// Of |modelled / measured - 1|; `bias` is the median of the ratio less one.
struct CostError {
  std::size_t rows = 0;
  double median = 0, mean = 0, p90 = 0, bias = 0;
};
CostError cost_error(const std::vector<CostSample>& rows, const OperatorCost& cost);

// The constants of an operator with the least mean of |ln(modelled / measured)|, shares at most 1,
// by a search along one constant after the other from `start`; rounded to three digits. `rows` is
// not empty.
OperatorCost fitted(const std::vector<CostSample>& rows, std::string_view op,
                    const OperatorCost& start);

// A row of data/serving/modelled.csv.
struct FittedCost {
  std::string op, format;
  OperatorCost cost;
  std::string source;
};
// All of them: fitted to the samples of a system and backend; "memory" as the system's file states
// it.
Result<std::vector<FittedCost>> fit_costs(const perfdb::SystemsTree& tree, std::string_view system,
                                          std::string_view backend,
                                          const std::vector<ExpertShape>& experts);
std::string csv(const std::vector<FittedCost>& rows);

}  // namespace dsaperf::predict::modelled
