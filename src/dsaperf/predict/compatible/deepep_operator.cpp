#include "dsaperf/predict/compatible/deepep_operator.hpp"

#include "dsaperf/core/fail.hpp"

#include <vector>

namespace dsaperf::predict::compatible {
namespace {

constexpr int kSglangRanksANode = 8;  // of every system's table

// What TensorRT-LLM sends, by the experts' format; empty: nothing that was measured. Its normal
// mode sends FP8 experts' input as bf16, its low-latency mode as FP8.
std::string_view trtllm_wire(std::string_view exchange, std::string_view dtype, DeepEpSide side) {
  const bool low_latency = exchange.ends_with("_ll");
  if (dtype == "bfloat16") return "bfloat16";
  if (dtype.starts_with("fp8")) return low_latency ? "fp8" : "bfloat16";
  if (dtype != "nvfp4") return {};
  return low_latency && side == DeepEpSide::kCombine ? "fp4" : "nvfp4";
}

}  // namespace

// `rows(ranks, nodes)` gives the points of one group.
template <typename Rows>
Result<DeepEpOperator> DeepEpOperator::nearest(const Shape& shape, int node_width,
                                               const Rows& rows) {
  DeepEpOperator exchange;
  exchange.curve_ = LatencyCurve::from_points(rows(shape.ranks, shape.nodes()));
  if (exchange.curve_.empty() && shape.nodes() > 1 && shape.one_node_for_all)
    exchange.curve_ = LatencyCurve::from_points(rows(node_width, 1));
  if (exchange.curve_.empty())
    return fail(Errc::kNotFound,
                "no rows of DeepEP's exchanges of {} among {} ranks on {} nodes, hidden {}, {} of "
                "{} experts",
                shape.dtype, shape.ranks, shape.nodes(), shape.hidden, shape.topk, shape.experts);
  return exchange;
}

Result<DeepEpOperator> DeepEpOperator::make(const perfdb::DeepEpTable& table, const Shape& shape,
                                            DeepEpSide side) {
  return nearest(shape, kSglangRanksANode, [&](int ranks, int nodes) {
    std::vector<LatencyCurve::Point> points;
    for (const auto& row : table.rows) {
      if (row.nodes != nodes || row.nodes * kSglangRanksANode != ranks ||
          row.hidden != shape.hidden || row.topk != shape.topk || row.experts != shape.experts ||
          row.sms != shape.sms)
        continue;
      const Micros time = side == DeepEpSide::kDispatch ? row.dispatch : row.combine;
      points.push_back({.size = static_cast<double>(row.tokens), .ms = time.millis()});
    }
    return points;
  });
}

Result<DeepEpOperator> DeepEpOperator::make(const perfdb::MoeA2aTable& table,
                                            std::string_view exchange, const Shape& shape,
                                            DeepEpSide side) {
  const std::string_view wire =
      exchange.starts_with("trtllm") ? trtllm_wire(exchange, shape.dtype, side) : "default";
  const std::string_view phase = side == DeepEpSide::kDispatch ? "dispatch" : "combine";
  std::vector<bool> wanted;
  for (const auto& kind : table.kinds)
    wanted.push_back(kind.comm_backend == exchange && kind.phase == phase &&
                     kind.comm_dtype == wire);
  return nearest(shape, shape.per_node, [&](int ranks, int nodes) {
    std::vector<LatencyCurve::Point> points;
    for (const auto& row : table.rows)
      if (wanted[static_cast<std::size_t>(row.kind)] && row.ep == ranks && row.nodes == nodes &&
          row.hidden == shape.hidden && row.topk == shape.topk && row.experts == shape.experts &&
          row.sms == shape.sms)
        points.push_back({.size = static_cast<double>(row.tokens), .ms = row.latency.millis()});
    return points;
  });
}

}  // namespace dsaperf::predict::compatible
