#include "dsaperf/predict/compatible/moe_operator.hpp"

#include "dsaperf/core/fail.hpp"

#include <algorithm>
#include <cmath>

namespace dsaperf::predict::compatible {
namespace {

constexpr double kHalfTile = 64;  // rows of a tile of a grouped GEMM that are empty, on average

// MoE tables know weight formats of their own beside those of GEMMs.
Result<DtypeTraits> moe_traits(const std::string& dtype) {
  if (dtype == "w4afp8" || dtype == "w4a8_mxfp4_mxfp8")
    return DtypeTraits{.bytes = 0.5, .rate = "fp8"};
  if (dtype == "w4a16_mxfp4") return DtypeTraits{.bytes = 0.5, .rate = "bfloat16"};
  return dtype_traits(dtype);
}

// TensorRT-LLM's NVFP4 experts of few tokens: rows apart from the rest.
enum class Kernel { kUsual, kFewTokens };

LatencyCurve rows_of_distribution(const perfdb::MoeTable& table, const MoeShape& shape,
                                  Kernel kernel, std::string_view distribution) {
  std::vector<bool> wanted;
  for (const auto& kind : table.kinds)
    wanted.push_back(kind.moe_dtype == shape.dtype && kind.distribution == distribution &&
                     (kind.kernel_source == "moe_torch_flow_min_latency") ==
                         (kernel == Kernel::kFewTokens));
  std::vector<LatencyCurve::Point> points;
  for (const auto& row : table.rows) {
    if (wanted[static_cast<std::size_t>(row.kind)] && row.hidden == shape.hidden &&
        row.inter == shape.inter && row.topk == shape.topk && row.experts == shape.experts &&
        row.moe_tp == shape.moe_tp && row.moe_ep == shape.moe_ep)
      points.push_back({.size = static_cast<double>(row.tokens), .ms = row.latency.millis()});
  }
  return LatencyCurve::from_points(std::move(points));
}

LatencyCurve rows_of(const perfdb::MoeTable& table, const MoeShape& shape, Kernel kernel) {
  auto curve = rows_of_distribution(table, shape, kernel, shape.distribution);
  if (!curve.empty()) return curve;
  return rows_of_distribution(table, shape, kernel, "uniform");
}

}  // namespace

Result<MoeOperator> MoeOperator::without_rows(const perfdb::SystemFile& system,
                                              const std::string& dtype) {
  MoeOperator moe;
  DSAPERF_TRY_ASSIGN(const auto traits, moe_traits(dtype));
  DSAPERF_TRY_ASSIGN(moe.flop_per_s_, system.rate(traits.rate));
  moe.bytes_per_s_ = system.mem_bw;
  moe.bytes_per_value_ = traits.bytes;
  return moe;
}

Result<MoeOperator> MoeOperator::modelled(const modelled::OperatorCost& cost,
                                          const perfdb::SystemFile& system, MoeShape shape) {
  DSAPERF_TRY_ASSIGN(auto moe, without_rows(system, shape.dtype));
  moe.shape_ = std::move(shape);
  const double skew = std::pow(moe.shape_.moe_ep, cost.rank_skew);
  moe.curve_ =
      LatencyCurve::modelled([&](double tokens) { return cost.ms(moe.padded(tokens, skew)); });
  return moe;
}

Result<MoeOperator> MoeOperator::make(const perfdb::MoeTable& table,
                                      const perfdb::SystemFile& system, MoeShape shape) {
  DSAPERF_TRY_ASSIGN(auto moe, without_rows(system, shape.dtype));
  moe.curve_ = rows_of(table, shape, Kernel::kUsual);
  if (shape.dtype == "nvfp4") moe.few_ = rows_of(table, shape, Kernel::kFewTokens);
  if (moe.curve_.empty())
    return fail(Errc::kNotFound,
                "no MoE rows of {} {} for hidden {}, inter {}, {} of {} experts, tensor parallel "
                "{}, expert "
                "parallel {}",
                shape.dtype, shape.distribution, shape.hidden, shape.inter, shape.topk,
                shape.experts, shape.moe_tp, shape.moe_ep);
  moe.shape_ = std::move(shape);
  return moe;
}

BoundParts MoeOperator::bound(double tokens) const {
  // Integer divisions as aiconfigurator's: they drop the part of an expert that a rank does not
  // fill.
  const double routed = std::floor(tokens * shape_.topk);
  const double hidden = shape_.hidden;
  const double inter = shape_.inter;
  const double per_rank = std::floor(routed / shape_.moe_ep);
  const double flops =
      std::floor(std::floor(routed * hidden * inter * 3 * 2 / shape_.moe_ep) / shape_.moe_tp);
  const double weights =
      std::floor(hidden * inter * 3 / shape_.moe_tp) *
      std::min(std::floor(static_cast<double>(shape_.experts) / shape_.moe_ep), per_rank);
  const double bytes =
      (per_rank * hidden * 2 + std::floor(per_rank * inter * 3 / shape_.moe_tp) + weights) *
      bytes_per_value_;
  return {.math_ms = flops / flop_per_s_ * 1e3, .memory_ms = bytes / bytes_per_s_ * 1e3};
}

BoundParts MoeOperator::least(double tokens) const {
  return of_rows(tokens * shape_.topk / shape_.moe_ep, reached_experts(tokens), 0);
}

BoundParts MoeOperator::padded(double tokens, double skew) const {
  const double experts = static_cast<double>(shape_.experts) / shape_.moe_ep;
  const double most = tokens * std::min<double>(shape_.topk, experts);
  const double rows = std::min(tokens * shape_.topk / shape_.moe_ep * skew, most);
  const double reached = reached_experts(tokens);
  return of_rows(rows, reached, std::min(reached, rows) * kHalfTile);
}

double MoeOperator::reached_experts(double tokens) const {
  const double experts = static_cast<double>(shape_.experts) / shape_.moe_ep;
  return experts * (1 - std::pow(1 - 1 / experts, tokens * shape_.topk / shape_.moe_ep));
}

BoundParts MoeOperator::of_rows(double rows, double reached, double added) const {
  const double values = 3.0 * shape_.hidden * shape_.inter / shape_.moe_tp;  // of an expert
  const double bytes =
      (rows * (2.0 * shape_.hidden + 3.0 * shape_.inter / shape_.moe_tp) + reached * values) *
      bytes_per_value_;
  return {.math_ms = 2 * (rows + added) * values / flop_per_s_ * 1e3,
          .memory_ms = bytes / bytes_per_s_ * 1e3};
}

}  // namespace dsaperf::predict::compatible
