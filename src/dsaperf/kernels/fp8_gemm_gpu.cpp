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

// Boxes of `box_rows` rows and 128 bytes.
Result<CUtensorMap> map_of(const std::uint8_t* data, std::int64_t rows, std::int64_t k,
                           std::int64_t stride, int box_rows) {
  // One row may have any stride; the copy engine still wants one that holds it.
  const auto between = static_cast<std::uint64_t>(rows > 1 ? stride : ceil_div(k, 16) * 16);
  const std::array<sm90::TensorMapAxis, 2> axes = {
      {{.size = static_cast<std::uint64_t>(k), .stride_bytes = 1, .box = kQuantGroup},
       {.size = static_cast<std::uint64_t>(rows),
        .stride_bytes = between,
        .box = static_cast<std::uint32_t>(box_rows)}}};
  return sm90::make_tensor_map(data, sm90::TensorMapElement::kByte, axes,
                               sm90::TensorMapSwizzle::k128Bytes);
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

// Time of a kernel: turns of the device, times the steps of k in each, times what a step takes when
// all SMs work (microseconds, measured on an H200 from 1 to 8192 rows with the projections of
// DeepSeek-V3.2; launch and first fetch are alike). It only has to tell which kernel is faster.
double few_rows_time(const Fp8GemmArguments& arguments, int sm_count) {
  constexpr double kStepAlone = 0.53;
  constexpr double kStepOfTwo = 0.8;  // two CTAs share an SM
  const int parts = parts_of(arguments, sm_count);
  const std::int64_t ctas = parts * ceil_div(arguments.p.n, sm90::kFewRowsTileN) *
                            ceil_div(arguments.p.m, kLargestFewRows);
  const std::int64_t turns = ceil_div(ctas, 2 * std::int64_t{sm_count});
  return static_cast<double>(turns * arguments.steps) / parts *
         (ctas <= sm_count ? kStepAlone : kStepOfTwo);
}

double many_rows_time(const Fp8GemmArguments& arguments, int tile_m, int sm_count) {
  constexpr double kStepOf128 = 0.56;
  constexpr double kStepOf256 = 0.92;
  const std::int64_t pairs = ceil_div(arguments.p.m, tile_m) *
                             ceil_div(arguments.p.n, 2 * std::int64_t{sm90::kManyRowsTileN});
  return static_cast<double>(ceil_div(pairs, sm_count / 2) * arguments.steps) *
         (tile_m == 256 ? kStepOf256 : kStepOf128);
}

}  // namespace

Result<void> fp8_gemm(const Fp8GemmParams& params, CUstream_st* stream) {
  DSAPERF_TRY(fp8_gemm_check(params));
  const auto& p = params;
  if (p.m == 0 || p.n == 0) return {};
  const auto aligned = [](const void* pointer, std::int64_t stride) {
    return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0 && stride % 16 == 0;
  };
  if (!aligned(p.x, p.x_stride) || !aligned(p.w, p.w_stride)) {
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
  Fp8GemmArguments arguments{
      .x = {}, .w = {}, .p = p, .steps = static_cast<int>(ceil_div(p.k, kQuantGroup))};
  const auto make_maps = [&](int x_rows, int w_rows) -> Result<void> {
    DSAPERF_TRY_ASSIGN(arguments.x, map_of(p.x, p.m, p.k, p.x_stride, x_rows));
    DSAPERF_TRY_ASSIGN(arguments.w, map_of(p.w, p.n, p.k, p.w_stride, w_rows));
    return {};
  };
  const double of_128 = many_rows_time(arguments, 128, sm_count);
  const double of_256 = many_rows_time(arguments, 256, sm_count);
  constexpr int kAlwaysFew = 64;  // the weights' bytes decide
  if (p.m <= kAlwaysFew || few_rows_time(arguments, sm_count) <= std::min(of_128, of_256)) {
    const int rows = p.m <= 16 ? 16 : p.m <= 32 ? 32 : p.m <= 64 ? 64 : kLargestFewRows;
    DSAPERF_TRY(make_maps(rows, sm90::kFewRowsTileN));
    const auto launch = rows == 16   ? launch_few<16>
                        : rows == 32 ? launch_few<32>
                        : rows == 64 ? launch_few<64>
                                     : launch_few<kLargestFewRows>;
    DSAPERF_CUDA_TRY(launch(arguments, sm_count, stream));
    return {};
  }
  const bool tall = of_256 <= of_128;
  DSAPERF_TRY(make_maps(tall ? 128 : 64, sm90::kManyRowsTileN));
  const auto launch = tall ? sm90::launch_fp8_many_rows<256> : sm90::launch_fp8_many_rows<128>;
  DSAPERF_CUDA_TRY(launch(arguments, sm_count, stream));
  return {};
}

}  // namespace dsaperf::kernels
