#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"

#include <cuda_bf16.h>

// RMSNorm and LayerNorm: one warp a row, which it reads twice (the second time from L1).
//
//   bound by  4 bytes a value, read and written
//   limits    none on dim; a stride of any number of elements
namespace dsaperf::kernels::rows {
namespace {

constexpr int kWarps = 8;

__device__ float warp_sum(float value) {
  for (int lane = 16; lane > 0; lane /= 2) value += __shfl_xor_sync(0xffffffff, value, lane);
  return value;
}

__global__ void __launch_bounds__(32 * kWarps) rms_norm_kernel(const RmsNormParams params) {
  const int lane = threadIdx.x % 32;
  for (std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; row < params.rows;
       row += std::int64_t{gridDim.x} * kWarps) {
    const auto* x = static_cast<const __nv_bfloat16*>(params.x) + row * params.x_stride;
    auto* out = static_cast<__nv_bfloat16*>(params.out) + row * params.out_stride;
    float squares = 0;
    for (int i = lane; i < params.dim; i += 32) {
      const float value = __bfloat162float(x[i]);
      squares += value * value;
    }
    const float factor = rsqrtf(warp_sum(squares) / static_cast<float>(params.dim) + params.eps);
    for (int i = lane; i < params.dim; i += 32) {
      out[i] = __float2bfloat16_rn(__bfloat162float(x[i]) * factor * params.weight[i]);
    }
  }
}

__global__ void __launch_bounds__(32 * kWarps) layer_norm_kernel(const LayerNormParams params) {
  const int lane = threadIdx.x % 32;
  const float count = static_cast<float>(params.dim);
  for (std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; row < params.rows;
       row += std::int64_t{gridDim.x} * kWarps) {
    const auto* x = static_cast<const __nv_bfloat16*>(params.x) + row * params.x_stride;
    auto* out = static_cast<__nv_bfloat16*>(params.out) + row * params.out_stride;
    float sum = 0;
    for (int i = lane; i < params.dim; i += 32) sum += __bfloat162float(x[i]);
    const float mean = warp_sum(sum) / count;
    // Deviations from the mean, not the difference of two large sums.
    float squares = 0;
    for (int i = lane; i < params.dim; i += 32) {
      const float deviation = __bfloat162float(x[i]) - mean;
      squares += deviation * deviation;
    }
    const float factor = rsqrtf(warp_sum(squares) / count + params.eps);
    for (int i = lane; i < params.dim; i += 32) {
      const float value = (__bfloat162float(x[i]) - mean) * factor;
      out[i] = __float2bfloat16_rn(value * params.weight[i] + params.bias[i]);
    }
  }
}

}  // namespace

cudaError_t launch(const RmsNormParams& params, cudaStream_t stream) {
  rms_norm_kernel<<<grid_size(params.rows, kWarps), 32 * kWarps, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t launch(const LayerNormParams& params, cudaStream_t stream) {
  layer_norm_kernel<<<grid_size(params.rows, kWarps), 32 * kWarps, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::rows
