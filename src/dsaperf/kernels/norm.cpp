#include "dsaperf/kernels/norm.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"

#include <cmath>
#include <vector>

namespace dsaperf::kernels {
namespace {

template <typename Params>
Result<void> check(const char* name, const Params& p) {
  if (p.rows < 0 || p.dim < 1)
    return fail(Errc::kInvalidArgument, "{}: {} rows of {}", name, p.rows, p.dim);
  if (!(p.eps >= 0) || !std::isfinite(p.eps))
    return fail(Errc::kInvalidArgument, "{}: eps is not a number >= 0", name);
  if (p.rows == 0) return {};
  if (p.x == nullptr || p.weight == nullptr || p.out == nullptr)
    return fail(Errc::kInvalidArgument, "{}: x, weight or out is null", name);
  if (p.rows > 1 && (p.x_stride < p.dim || p.out_stride < p.dim))
    return fail(Errc::kInvalidArgument, "{}: a stride is less than dim {}", name, p.dim);
  return {};
}

std::vector<double> read_row(const void* x, std::int64_t offset, int dim) {
  const auto* row = static_cast<const std::uint16_t*>(x) + offset;
  std::vector<double> values(dim);
  for (int d = 0; d < dim; ++d) values[d] = bf16_to_float(row[d]);
  return values;
}

}  // namespace

Result<void> rms_norm_check(const RmsNormParams& params) {
  return check("rms_norm", params);
}

Result<void> layer_norm_check(const LayerNormParams& params) {
  DSAPERF_TRY(check("layer_norm", params));
  if (params.rows > 0 && params.bias == nullptr)
    return fail(Errc::kInvalidArgument, "layer_norm: bias is null");
  return {};
}

Result<void> rms_norm_reference(const RmsNormParams& params) {
  DSAPERF_TRY(rms_norm_check(params));
  for (std::int64_t r = 0; r < params.rows; ++r) {
    const std::vector<double> x = read_row(params.x, r * params.x_stride, params.dim);
    double squares = 0;
    for (const double value : x) squares += value * value;
    const double factor = 1 / std::sqrt(squares / params.dim + params.eps);
    auto* out = static_cast<std::uint16_t*>(params.out) + r * params.out_stride;
    for (int d = 0; d < params.dim; ++d) out[d] = bf16_from(x[d] * factor * params.weight[d]);
  }
  return {};
}

Result<void> layer_norm_reference(const LayerNormParams& params) {
  DSAPERF_TRY(layer_norm_check(params));
  for (std::int64_t r = 0; r < params.rows; ++r) {
    const std::vector<double> x = read_row(params.x, r * params.x_stride, params.dim);
    double mean = 0;
    for (const double value : x) mean += value / params.dim;
    double variance = 0;
    for (const double value : x) variance += (value - mean) * (value - mean) / params.dim;
    const double factor = 1 / std::sqrt(variance + params.eps);
    auto* out = static_cast<std::uint16_t*>(params.out) + r * params.out_stride;
    for (int d = 0; d < params.dim; ++d)
      out[d] = bf16_from((x[d] - mean) * factor * params.weight[d] + params.bias[d]);
  }
  return {};
}

}  // namespace dsaperf::kernels
