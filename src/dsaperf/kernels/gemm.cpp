#include "dsaperf/kernels/gemm.hpp"

#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <vector>

namespace dsaperf::kernels {
namespace {

constexpr std::int64_t groups(std::int64_t size) {
  return ceil_div(size, kQuantGroup);
}

}  // namespace

Result<void> gemm_check(const GemmParams& params) {
  const auto& p = params;
  if (p.m < 0 || p.n < 0 || p.k < 0 || p.batch < 0)
    return fail(Errc::kInvalidArgument, "gemm: a size is negative ({} x {} x {}, batch {})", p.m,
                p.n, p.k, p.batch);
  if (p.w_layout != WeightLayout::kOutIn && p.w_layout != WeightLayout::kInOut)
    return fail(Errc::kInvalidArgument, "gemm: unknown weight layout");
  if (p.output != GemmOutput::kBf16 && p.output != GemmOutput::kF32)
    return fail(Errc::kInvalidArgument, "gemm: unknown output format");
  if (p.m == 0 || p.n == 0 || p.batch == 0) return {};
  if (p.y == nullptr || p.x == nullptr || p.w == nullptr)
    return fail(Errc::kInvalidArgument, "gemm: a pointer is null");
  const bool out_in = p.w_layout == WeightLayout::kOutIn;
  const std::int64_t w_rows = out_in ? p.n : p.k;
  const std::int64_t w_columns = out_in ? p.k : p.n;
  if ((p.m > 1 && (p.x_stride < p.k || p.y_stride < p.n)) || (w_rows > 1 && p.w_stride < w_columns))
    return fail(Errc::kInvalidArgument, "gemm: a stride is less than a row");
  if (p.batch > 1 && (p.x_batch_stride < 0 || p.w_batch_stride < 0 || p.y_batch_stride < p.n))
    return fail(Errc::kInvalidArgument, "gemm: a batch stride overlaps outputs or is negative");
  return {};
}

Result<void> fp8_gemm_check(const Fp8GemmParams& params) {
  const auto& p = params;
  if (p.m < 0 || p.n < 0 || p.k < 0)
    return fail(Errc::kInvalidArgument, "fp8_gemm: a size is negative ({} x {} x {})", p.m, p.n,
                p.k);
  if (p.m == 0 || p.n == 0) return {};
  if (p.y == nullptr || p.x == nullptr || p.x_scales == nullptr || p.w == nullptr ||
      p.w_scales == nullptr)
    return fail(Errc::kInvalidArgument, "fp8_gemm: a pointer is null");
  if ((p.m > 1 && (p.x_stride < p.k || p.y_stride < p.n || p.x_scales_stride < groups(p.k))) ||
      (p.n > 1 && p.w_stride < p.k) || (groups(p.n) > 1 && p.w_scales_stride < groups(p.k)))
    return fail(Errc::kInvalidArgument, "fp8_gemm: a stride is less than a row");
  return {};
}

Result<void> gemm_reference(const GemmParams& params) {
  DSAPERF_TRY(gemm_check(params));
  const auto& p = params;
  if (p.m == 0 || p.n == 0) return {};
  const bool out_in = p.w_layout == WeightLayout::kOutIn;
  for (std::int64_t b = 0; b < p.batch; ++b) {
    const auto* x = static_cast<const std::uint16_t*>(p.x) + b * p.x_batch_stride;
    const auto* w = static_cast<const std::uint16_t*>(p.w) + b * p.w_batch_stride;
    for (std::int64_t i = 0; i < p.m; ++i) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        double sum = 0;
        for (std::int64_t l = 0; l < p.k; ++l)
          sum += static_cast<double>(bf16_to_float(x[i * p.x_stride + l])) *
                 bf16_to_float(out_in ? w[j * p.w_stride + l] : w[l * p.w_stride + j]);
        const std::int64_t at = b * p.y_batch_stride + i * p.y_stride + j;
        if (p.output == GemmOutput::kBf16)
          static_cast<std::uint16_t*>(p.y)[at] = bf16_from(sum);
        else
          static_cast<float*>(p.y)[at] = static_cast<float>(sum);
      }
    }
  }
  return {};
}

Result<void> fp8_gemm_reference(const Fp8GemmParams& params) {
  DSAPERF_TRY(fp8_gemm_check(params));
  const auto& p = params;
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      double sum = 0;
      for (std::int64_t l = 0; l < p.k; ++l)
        sum += static_cast<double>(e4m3_to_float(p.x[i * p.x_stride + l])) *
               p.x_scales[i * p.x_scales_stride + l / kQuantGroup] *
               e4m3_to_float(p.w[j * p.w_stride + l]) *
               p.w_scales[j / kQuantGroup * p.w_scales_stride + l / kQuantGroup];
      static_cast<std::uint16_t*>(p.y)[i * p.y_stride + j] = bf16_from(sum);
    }
  }
  return {};
}

}  // namespace dsaperf::kernels
