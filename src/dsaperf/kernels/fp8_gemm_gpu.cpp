#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/launch.hpp"
#include "dsaperf/kernels/sm90/tensor_map.hpp"

#include <cuda_runtime_api.h>

#include <array>

namespace dsaperf::kernels {
namespace {

using sm90::Fp8GemmArguments;
using sm90::TensorMapAxis;
using sm90::TensorMapElement;
using sm90::TensorMapSwizzle;

struct Matrix {
  const void* data;
  TensorMapElement element;
  std::int64_t rows;
  std::int64_t columns;
  std::int64_t stride;  // elements between rows

  std::int64_t stride_bytes() const { return stride * bytes_of(element); }
  // Whether the copy engine takes it.
  bool is_aligned() const {
    return reinterpret_cast<std::uintptr_t>(data) % 16 == 0 && stride_bytes() % 16 == 0;
  }
};

Matrix x_of(const Fp8GemmParams& p) {
  return {p.x, TensorMapElement::kByte, p.m, p.k, p.x_stride};
}
Matrix w_of(const Fp8GemmParams& p) {
  return {p.w, TensorMapElement::kByte, p.n, p.k, p.w_stride};
}
Matrix x_scales_of(const Fp8GemmParams& p) {
  return {p.x_scales, TensorMapElement::kFloat, p.m, ceil_div(p.k, kQuantGroup), p.x_scales_stride};
}
Matrix w_scales_of(const Fp8GemmParams& p) {
  return {p.w_scales, TensorMapElement::kFloat, ceil_div(p.n, kQuantGroup),
          ceil_div(p.k, kQuantGroup), p.w_scales_stride};
}
Matrix y_of(const Fp8GemmParams& p) {
  return {p.y, TensorMapElement::kBf16, p.m, p.n, p.y_stride};
}

Result<CUtensorMap> map_of(const Matrix& matrix, int box_rows, int box_columns,
                           TensorMapSwizzle swizzle = TensorMapSwizzle::k128Bytes) {
  const std::int64_t element_bytes = bytes_of(matrix.element);
  // One row may have any stride; the copy engine still wants one that holds it.
  const std::int64_t between =
      matrix.rows > 1 ? matrix.stride_bytes() : ceil_div(matrix.columns * element_bytes, 16) * 16;
  const std::array<TensorMapAxis, 2> axes = {
      {{.size = static_cast<std::uint64_t>(matrix.columns),
        .stride_bytes = static_cast<std::uint64_t>(element_bytes),
        .box = static_cast<std::uint32_t>(box_columns)},
       {.size = static_cast<std::uint64_t>(matrix.rows),
        .stride_bytes = static_cast<std::uint64_t>(between),
        .box = static_cast<std::uint32_t>(box_rows)}}};
  return sm90::make_tensor_map(matrix.data, matrix.element, axes, swizzle);
}

// x and w in boxes of 128 of k.
Result<void> map_operands(Fp8GemmArguments& arguments, int x_rows, int w_rows) {
  DSAPERF_TRY_ASSIGN(arguments.x, map_of(x_of(arguments.p), x_rows, kQuantGroup));
  DSAPERF_TRY_ASSIGN(arguments.w, map_of(w_of(arguments.p), w_rows, kQuantGroup));
  return {};
}

Result<void> run_few_rows(Fp8GemmArguments& arguments, int parts, CUstream_st* stream) {
  const std::int64_t m = arguments.p.m;
  const int rows = m <= 16 ? 16 : m <= 32 ? 32 : m <= 64 ? 64 : sm90::kFewRowsTileM;
  DSAPERF_TRY(map_operands(arguments, rows, sm90::kFewRowsTileN));
  const auto launch = rows == 16   ? sm90::launch_fp8_few_rows<16>
                      : rows == 32 ? sm90::launch_fp8_few_rows<32>
                      : rows == 64 ? sm90::launch_fp8_few_rows<64>
                                   : sm90::launch_fp8_few_rows<sm90::kFewRowsTileM>;
  DSAPERF_CUDA_TRY(launch(arguments, parts, stream));
  return {};
}

decltype(&sm90::launch_fp8_many_rows<2, 1, 128>) launch_of(const sm90::ManyRowsTile& tile) {
  if (tile.tile_m == 256) return sm90::launch_fp8_many_rows<2, 2, 128>;
  if (tile.tile_m == 192) return sm90::launch_fp8_many_rows<3, 1, 128>;
  return tile.tile_n == 192   ? sm90::launch_fp8_many_rows<2, 1, 192>
         : tile.tile_n == 128 ? sm90::launch_fp8_many_rows<2, 1, 128>
                              : sm90::launch_fp8_many_rows<2, 1, 64>;
}

Result<void> run_many_rows(Fp8GemmArguments& arguments, const sm90::ManyRowsTile& tile,
                           int sm_count, CUstream_st* stream) {
  const Fp8GemmParams& p = arguments.p;
  const bool x_is_shared = sm90::shares_x(tile.tile_m, tile.tile_n);
  DSAPERF_TRY(map_operands(arguments, tile.tile_m / (x_is_shared ? 2 : 1),
                           tile.tile_n / (x_is_shared ? 1 : 2)));
  DSAPERF_TRY_ASSIGN(
      arguments.x_scales,
      map_of(x_scales_of(p), tile.tile_m, sm90::kManyRowsScaleSteps, TensorMapSwizzle::kNone));
  DSAPERF_TRY_ASSIGN(arguments.w_scales,
                     map_of(w_scales_of(p), static_cast<int>(ceil_div(tile.tile_n, kQuantGroup)),
                            sm90::kManyRowsScaleSteps, TensorMapSwizzle::kNone));
  arguments.y_by_copy = y_of(p).is_aligned();
  if (arguments.y_by_copy) {
    DSAPERF_TRY_ASSIGN(arguments.y, map_of(y_of(p), 64, 64));
  }
  DSAPERF_CUDA_TRY(launch_of(tile)(arguments, tile.ctas, sm_count, stream));
  return {};
}

}  // namespace

Result<void> fp8_gemm(const Fp8GemmParams& params, CUstream_st* stream) {
  DSAPERF_TRY(fp8_gemm_check(params));
  const auto& p = params;
  if (p.m == 0 || p.n == 0) return {};
  if (!x_of(p).is_aligned() || !w_of(p).is_aligned()) {
    return fail(
        Errc::kUnsupported,
        "fp8_gemm: x and w and their strides must be multiples of 16 bytes (strides {}, {})",
        p.x_stride, p.w_stride);
  }
  if (p.k == 0) {
    constexpr std::size_t kBf16Bytes = 2;
    DSAPERF_CUDA_TRY(cudaMemset2DAsync(p.y, static_cast<std::size_t>(p.y_stride) * kBf16Bytes, 0,
                                       static_cast<std::size_t>(p.n) * kBf16Bytes,
                                       static_cast<std::size_t>(p.m), stream));
    return {};
  }
  DSAPERF_TRY_ASSIGN(const int sm_count, gpu::current_sm_count());
  Fp8GemmArguments arguments{};
  arguments.p = p;
  arguments.steps = static_cast<int>(ceil_div(p.k, kQuantGroup));
  const bool takes_many_rows = arguments.steps % sm90::kManyRowsScaleSteps == 0 &&
                               x_scales_of(p).is_aligned() && w_scales_of(p).is_aligned();
  const auto plan = sm90::plan_fp8_gemm(p.m, p.n, arguments.steps, takes_many_rows, sm_count);
  return plan.many_rows == nullptr ? run_few_rows(arguments, plan.parts, stream)
                                   : run_many_rows(arguments, *plan.many_rows, sm_count, stream);
}

}  // namespace dsaperf::kernels
