#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/perfdb/dsa_table.hpp"
#include "dsaperf/perfdb/systems_tree.hpp"
#include "dsaperf/predict/layer_predictor.hpp"
#include "dsaperf/predict/stages/hyperparameter_store.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace dsaperf::predict {

// What is left out before a row is predicted: the row alone, or every row of its kind that shares
// one value of heads, batch, new or past (inner values only).
enum class LeftOut { kPoint, kSlice };
std::string_view name(LeftOut left_out);

struct TableName {
  std::string system, backend, version;
  perfdb::Phase phase = perfdb::Phase::kContext;
};

// One row, predicted from the others.
struct LeftOutPoint {
  std::string population;  // of the table: "", "shared selection", "bfloat16 GEMMs"
  std::string axis;        // slices: "heads", "batch", "new", "past"
  LayerKind kind;
  std::string regime;
  LayerShape shape;
  double measured_ms = 0;
  double predicted_ms = 0;
  std::optional<double> low_ms, high_ms;
};

struct LeaveOutOptions {
  std::size_t points = 1500;  // of each population, drawn at random; fewer rows: all
  std::uint64_t seed = 1;
};

// Rows of a table's own version, each predicted by `method` from the rest of the table.
// Populations: full layers with fp8 GEMMs ("": of SGLang both architectures, of the others
// DeepSeek-V3.2), layers that share a selection, bf16 GEMMs. Both methods draw the same rows.
// `note`: a part of the table is being fitted.
Result<std::vector<LeftOutPoint>> leave_out(
    const perfdb::SystemsTree& tree, const TableName& table, Method method, LeftOut left_out,
    const LeaveOutOptions& options, stages::HyperparameterStore& store,
    const std::function<void(const stages::Part&)>& note = {});

// A line of the report.
struct LeaveOutSummary {
  std::string
      table;  // "sglang 0.5.14 context", with the population or ", topk to 2 topk" behind it
  Method method = Method::kCompatible;
  LeftOut left_out = LeftOut::kPoint;
  std::size_t n = 0;
  double median_pct = 0, p90_pct = 0;    // absolute relative error
  std::optional<double> coverage90_pct;  // how many lie in their 90 % interval
};

// The table's own population first, then the points between topk and twice it, then other
// populations.
std::vector<LeaveOutSummary> summarise(const TableName& table, Method method, LeftOut left_out,
                                       const std::vector<LeftOutPoint>& points);

}  // namespace dsaperf::predict
