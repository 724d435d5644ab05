#include "dsaperf/predict/compatible/deepep_operator.hpp"

#include "dsaperf/core/fail.hpp"

namespace dsaperf::predict::compatible {

Result<DeepEpOperator> DeepEpOperator::make(const perfdb::DeepEpTable& table, const Shape& shape,
                                            DeepEpSide side) {
  std::vector<LatencyCurve::Point> points;
  for (const auto& row : table.rows) {
    if (row.nodes != shape.nodes || row.hidden != shape.hidden || row.topk != shape.topk ||
        row.experts != shape.experts || row.sms != shape.sms)
      continue;
    const Micros time = side == DeepEpSide::kDispatch ? row.dispatch : row.combine;
    points.push_back({.size = static_cast<double>(row.tokens), .ms = time.millis()});
  }
  DeepEpOperator exchange;
  exchange.curve_ = LatencyCurve::from_points(std::move(points));
  if (exchange.curve_.empty())
    return fail(Errc::kNotFound, "no DeepEP rows for {} nodes, hidden {}, {} of {} experts",
                shape.nodes, shape.hidden, shape.topk, shape.experts);
  return exchange;
}

}  // namespace dsaperf::predict::compatible
