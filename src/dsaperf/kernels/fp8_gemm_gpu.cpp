#include "dsaperf/core/ceil_div.hpp"
#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/launch.hpp"
#include "dsaperf/kernels/sm90/tensor_map.hpp"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>

namespace dsaperf::kernels {
namespace {

using sm90::Fp8GemmArguments;

using sm90::TensorMapAxis;
using sm90::TensorMapElement;
using sm90::TensorMapSwizzle;

// A matrix in boxes of `box_rows` rows and `box_columns` elements.
Result<CUtensorMap> map_of(const void* data, TensorMapElement element, std::int64_t element_bytes,
                           std::int64_t rows, std::int64_t columns, std::int64_t stride,
                           int box_rows, int box_columns, TensorMapSwizzle swizzle) {
  // One row may have any stride; the copy engine still wants one that holds it.
  const std::int64_t bytes =
      rows > 1 ? stride * element_bytes : ceil_div(columns * element_bytes, 16) * 16;
  const std::array<TensorMapAxis, 2> axes = {
      {{.size = static_cast<std::uint64_t>(columns),
        .stride_bytes = static_cast<std::uint64_t>(element_bytes),
        .box = static_cast<std::uint32_t>(box_columns)},
       {.size = static_cast<std::uint64_t>(rows),
        .stride_bytes = static_cast<std::uint64_t>(bytes),
        .box = static_cast<std::uint32_t>(box_rows)}}};
  return sm90::make_tensor_map(data, element, axes, swizzle);
}

// x and w in boxes of 128 bytes of k.
Result<void> map_operands(Fp8GemmArguments& arguments, int x_rows, int w_rows) {
  const Fp8GemmParams& p = arguments.p;
  const auto of = [&](const std::uint8_t* data, std::int64_t rows, std::int64_t stride,
                      int box_rows) {
    return map_of(data, TensorMapElement::kByte, 1, rows, p.k, stride, box_rows, kQuantGroup,
                  TensorMapSwizzle::k128Bytes);
  };
  DSAPERF_TRY_ASSIGN(arguments.x, of(p.x, p.m, p.x_stride, x_rows));
  DSAPERF_TRY_ASSIGN(arguments.w, of(p.w, p.n, p.w_stride, w_rows));
  return {};
}

bool is_aligned(const void* pointer, std::int64_t stride_bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0 && stride_bytes % 16 == 0;
}

constexpr int kLargestFewRows = 128;

// How many CTAs share the sum of a tile of few rows: as many as there is room for on the device,
// two an SM, each with four steps at least. Up to kLargestFewRows rows not a matter of m, so that a
// row's bits are not.
int parts_of(const Fp8GemmArguments& arguments, int sm_count) {
  constexpr std::int64_t kFewestSteps = 4;
  const std::int64_t tiles =
      ceil_div(arguments.p.n, sm90::kFewRowsTileN) * ceil_div(arguments.p.m, kLargestFewRows);
  int parts = 1;
  while (parts < sm90::kFewRowsMostParts && tiles * parts < sm_count &&
         arguments.steps >= 2 * parts * kFewestSteps)
    parts *= 2;
  return parts;
}

template <int kRows>
cudaError_t launch_few(const Fp8GemmArguments& arguments, int sm_count, cudaStream_t stream) {
  return sm90::launch_fp8_few_rows<kRows>(arguments, parts_of(arguments, sm_count), stream);
}

// Times of kernels in microseconds, measured on an H200 with the projections of DeepSeek-V3.2: what
// comes once, then turns of the device times what a turn takes when all SMs work. They only have to
// tell which kernel is faster.
double few_rows_time(const Fp8GemmArguments& arguments, int sm_count) {
  constexpr double kOnce = 5.6;
  constexpr double kStepAlone = 0.43;
  constexpr double kStepOfTwo = 0.65;  // two CTAs share an SM
  const int parts = parts_of(arguments, sm_count);
  const std::int64_t ctas = parts * ceil_div(arguments.p.n, sm90::kFewRowsTileN) *
                            ceil_div(arguments.p.m, kLargestFewRows);
  const std::int64_t turns = ceil_div(ctas, 2 * std::int64_t{sm_count});
  return kOnce + static_cast<double>(turns * arguments.steps) / parts *
                     (ctas <= sm_count ? kStepAlone : kStepOfTwo);
}

// A variant of many_rows.cuh, what its boxes are, and what a step and the rest of a tile take.
struct ManyRowsVariant {
  int tile_m;
  int tile_n;
  bool shares_x;
  int ctas;
  double step_time;
  double tile_time;
  cudaError_t (*launch)(const Fp8GemmArguments&, int ctas, int sm_count, cudaStream_t stream);

  double time(const Fp8GemmArguments& arguments, int sm_count) const {
    constexpr double kOnce = 4.0;
    const std::int64_t tiles =
        ceil_div(arguments.p.m, std::int64_t{tile_m} * (shares_x ? 1 : ctas)) *
        ceil_div(arguments.p.n, std::int64_t{tile_n} * (shares_x ? ctas : 1));
    const std::int64_t turns = ceil_div(tiles, std::int64_t{sm_count / ctas});
    return kOnce + static_cast<double>(turns) * (arguments.steps * step_time + tile_time);
  }
};

template <int kWarpgroups, int kParts, int kColumns>
constexpr ManyRowsVariant many_rows(int ctas, double step_time, double tile_time) {
  constexpr int kTileM = 64 * kWarpgroups * kParts;
  return {kTileM,
          kColumns,
          sm90::kManyRowsSharesX<kTileM, kColumns>,
          ctas,
          step_time,
          tile_time,
          sm90::launch_fp8_many_rows<kWarpgroups, kParts, kColumns>};
}

constexpr std::array kManyRowsVariants = {
    many_rows<2, 2, 128>(2, 0.653, 2.2), many_rows<3, 1, 128>(2, 0.492, 1.4),
    many_rows<2, 1, 192>(2, 0.501, 1.2), many_rows<2, 1, 192>(1, 0.498, 1.3),
    many_rows<2, 1, 128>(2, 0.374, 0.6), many_rows<2, 1, 128>(1, 0.362, 0.8),
    many_rows<2, 1, 64>(1, 0.264, 0.7)};

const ManyRowsVariant& fastest_many_rows(const Fp8GemmArguments& arguments, int sm_count) {
  return *std::ranges::min_element(kManyRowsVariants, {}, [&](const ManyRowsVariant& variant) {
    return variant.time(arguments, sm_count);
  });
}

// Whether the copy engine can fetch scales of some steps at a time.
bool takes_many_rows(const Fp8GemmArguments& arguments) {
  const Fp8GemmParams& p = arguments.p;
  return arguments.steps % sm90::kManyRowsScaleSteps == 0 &&
         is_aligned(p.x_scales, p.x_scales_stride * std::int64_t{sizeof(float)}) &&
         is_aligned(p.w_scales, p.w_scales_stride * std::int64_t{sizeof(float)});
}

Result<void> run_few_rows(Fp8GemmArguments& arguments, int sm_count, CUstream_st* stream) {
  const std::int64_t m = arguments.p.m;
  const int rows = m <= 16 ? 16 : m <= 32 ? 32 : m <= 64 ? 64 : kLargestFewRows;
  DSAPERF_TRY(map_operands(arguments, rows, sm90::kFewRowsTileN));
  const auto launch = rows == 16   ? launch_few<16>
                      : rows == 32 ? launch_few<32>
                      : rows == 64 ? launch_few<64>
                                   : launch_few<kLargestFewRows>;
  DSAPERF_CUDA_TRY(launch(arguments, sm_count, stream));
  return {};
}

Result<void> run_many_rows(Fp8GemmArguments& arguments, const ManyRowsVariant& variant,
                           int sm_count, CUstream_st* stream) {
  const Fp8GemmParams& p = arguments.p;
  const auto scales = [&](const float* data, std::int64_t rows, std::int64_t stride, int box_rows) {
    return map_of(data, TensorMapElement::kFloat, sizeof(float), rows, arguments.steps, stride,
                  box_rows, sm90::kManyRowsScaleSteps, TensorMapSwizzle::kNone);
  };
  DSAPERF_TRY(map_operands(arguments, variant.tile_m / (variant.shares_x ? 2 : 1),
                           variant.tile_n / (variant.shares_x ? 1 : 2)));
  DSAPERF_TRY_ASSIGN(arguments.x_scales,
                     scales(p.x_scales, p.m, p.x_scales_stride, variant.tile_m));
  DSAPERF_TRY_ASSIGN(arguments.w_scales,
                     scales(p.w_scales, ceil_div(p.n, kQuantGroup), p.w_scales_stride,
                            static_cast<int>(ceil_div(variant.tile_n, kQuantGroup))));
  constexpr std::int64_t kBf16Bytes = 2;
  arguments.y_by_copy = is_aligned(p.y, p.y_stride * kBf16Bytes);
  if (arguments.y_by_copy) {
    DSAPERF_TRY_ASSIGN(arguments.y, map_of(p.y, TensorMapElement::kBf16, kBf16Bytes, p.m, p.n,
                                           p.y_stride, 64, 64, TensorMapSwizzle::k128Bytes));
  }
  DSAPERF_CUDA_TRY(variant.launch(arguments, variant.ctas, sm_count, stream));
  return {};
}

}  // namespace

Result<void> fp8_gemm(const Fp8GemmParams& params, CUstream_st* stream) {
  DSAPERF_TRY(fp8_gemm_check(params));
  const auto& p = params;
  if (p.m == 0 || p.n == 0) return {};
  if (!is_aligned(p.x, p.x_stride) || !is_aligned(p.w, p.w_stride)) {
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
  constexpr int kAlwaysFew = 64;  // the weights' bytes decide
  if (p.m <= kAlwaysFew || !takes_many_rows(arguments))
    return run_few_rows(arguments, sm_count, stream);
  const ManyRowsVariant& many = fastest_many_rows(arguments, sm_count);
  return few_rows_time(arguments, sm_count) <= many.time(arguments, sm_count)
             ? run_few_rows(arguments, sm_count, stream)
             : run_many_rows(arguments, many, sm_count, stream);
}

}  // namespace dsaperf::kernels
