#include "dsaperf/kernels/quantise.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace dsaperf::kernels {
namespace {

bool known(ScaleFormat format) {
  return format == ScaleFormat::kUe8m0 || format == ScaleFormat::kF32;
}

}  // namespace

Result<void> quantise_groups_check(const QuantiseGroupsParams& params) {
  const auto& p = params;
  if (p.rows < 0 || p.dim < 1)
    return fail(Errc::kInvalidArgument, "quantise_groups: {} rows of {}", p.rows, p.dim);
  if (!known(p.scale_format))
    return fail(Errc::kInvalidArgument, "quantise_groups: unknown scale format");
  if (p.rows == 0) return {};
  if (p.x == nullptr || p.values == nullptr || p.scales == nullptr)
    return fail(Errc::kInvalidArgument, "quantise_groups: a pointer is null");
  const int groups = (p.dim + kQuantGroup - 1) / kQuantGroup;
  if (p.rows > 1 && (p.x_stride < p.dim || p.values_stride < p.dim || p.scales_stride < groups))
    return fail(Errc::kInvalidArgument, "quantise_groups: a stride is less than a row");
  return {};
}

Result<void> indexer_quantise_check(const IndexerQuantiseParams& params) {
  const auto& p = params;
  if (p.rows < 0) return fail(Errc::kInvalidArgument, "indexer_quantise: rows {} < 0", p.rows);
  if (!known(p.scale_format))
    return fail(Errc::kInvalidArgument, "indexer_quantise: unknown scale format");
  if (p.rows == 0) return {};
  if (p.x == nullptr || p.values == nullptr)
    return fail(Errc::kInvalidArgument, "indexer_quantise: x or values is null");
  if ((p.weights == nullptr) != (p.weights_out == nullptr))
    return fail(Errc::kInvalidArgument,
                "indexer_quantise: weights and weights_out come together or not at all");
  if (p.weights == nullptr && p.scales == nullptr)
    return fail(Errc::kInvalidArgument, "indexer_quantise: the scales go nowhere");
  if (p.rows > 1 && p.x_stride < kIndexDim)
    return fail(Errc::kInvalidArgument, "indexer_quantise: x_stride {} < {}", p.x_stride,
                kIndexDim);
  return {};
}

float quantise_group(const double* x, int size, ScaleFormat format, std::uint8_t* values) {
  double absmax = 0;
  for (int i = 0; i < size; ++i) absmax = std::fmax(absmax, std::abs(x[i]));  // skips NaN
  const float scale = e4m3_scale(absmax, format);
  for (int i = 0; i < size; ++i) values[i] = e4m3_from(x[i] / scale);
  return scale;
}

void hadamard_128(double* x) {
  for (int width = 1; width < kIndexDim; width *= 2) {
    for (int i = 0; i < kIndexDim; ++i) {
      if ((i & width) != 0) continue;
      const double a = x[i];
      const double b = x[i + width];
      x[i] = a + b;
      x[i + width] = a - b;
    }
  }
  const double factor = 1 / std::sqrt(static_cast<double>(kIndexDim));
  std::for_each(x, x + kIndexDim, [factor](double& value) { value *= factor; });
}

Result<void> quantise_groups_reference(const QuantiseGroupsParams& params) {
  DSAPERF_TRY(quantise_groups_check(params));
  const auto& p = params;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const auto* x = static_cast<const std::uint16_t*>(p.x) + r * p.x_stride;
    for (int begin = 0; begin < p.dim; begin += kQuantGroup) {
      const int size = std::min(kQuantGroup, p.dim - begin);
      std::array<double, kQuantGroup> group{};
      for (int i = 0; i < size; ++i) group[i] = bf16_to_float(x[begin + i]);
      p.scales[r * p.scales_stride + begin / kQuantGroup] = quantise_group(
          group.data(), size, p.scale_format, p.values + r * p.values_stride + begin);
    }
  }
  return {};
}

Result<void> indexer_quantise_reference(const IndexerQuantiseParams& params) {
  DSAPERF_TRY(indexer_quantise_check(params));
  const auto& p = params;
  for (std::int64_t r = 0; r < p.rows; ++r) {
    const auto* x = static_cast<const std::uint16_t*>(p.x) + r * p.x_stride;
    std::array<double, kIndexDim> row{};
    for (int d = 0; d < kIndexDim; ++d) row[d] = bf16_to_float(x[d]);
    hadamard_128(row.data());
    const float scale =
        quantise_group(row.data(), kIndexDim, p.scale_format, p.values + r * kIndexDim);
    if (p.scales != nullptr) p.scales[r] = scale;
    if (p.weights != nullptr)
      p.weights_out[r] =
          static_cast<float>(static_cast<double>(p.weights[r]) * scale * p.weight_factor);
  }
  return {};
}

}  // namespace dsaperf::kernels
