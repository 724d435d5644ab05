#include "dsaperf/kernels/rows/fp8_group.cuh"
#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"

#include <cuda_bf16.h>

// Groups of 128 values to e4m3, one warp a group. Index queries and keys pass the Hadamard
// transform on the way: two of its seven steps are within a lane's four values, five are shuffles.
//
//   bound by  2 bytes a value read, 1 written
namespace dsaperf::kernels::rows {
namespace {

constexpr int kWarps = 8;

__global__ void __launch_bounds__(32 * kWarps)
    quantise_groups_kernel(const QuantiseGroupsParams params) {
  const int lane = threadIdx.x % 32;
  const int groups = (params.dim + kQuantGroup - 1) / kQuantGroup;
  for (std::int64_t g = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
       g < params.rows * groups; g += std::int64_t{gridDim.x} * kWarps) {
    const std::int64_t row = g / groups;
    const int group = static_cast<int>(g % groups);
    const auto* x = static_cast<const __nv_bfloat16*>(params.x) + row * params.x_stride;
    const int first = group * kQuantGroup + lane * kLaneValues;
    float values[kLaneValues];
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) {
      values[i] = first + i < params.dim ? __bfloat162float(x[first + i]) : 0;
    }
    const float scale = group_scale(group_absmax(values), params.scale_format);
    const std::uint32_t packed = group_values(values, scale);
    auto* out = params.values + row * params.values_stride + first;
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) {
      if (first + i < params.dim) out[i] = static_cast<std::uint8_t>(packed >> (8 * i));
    }
    if (lane == 0) params.scales[row * params.scales_stride + group] = scale;
  }
}

// The lane's part of row i of the Hadamard matrix applied to 128 values: value j is lane j / 4,
// place j % 4.
__device__ void hadamard(float (&v)[kLaneValues], int lane) {
  const float a = v[0] + v[1];
  const float b = v[0] - v[1];
  const float c = v[2] + v[3];
  const float d = v[2] - v[3];
  v[0] = a + c;
  v[1] = b + d;
  v[2] = a - c;
  v[3] = b - d;
  for (int distance = 1; distance < 32; distance *= 2) {
#pragma unroll
    for (float& value : v) {
      const float other = __shfl_xor_sync(0xffffffff, value, distance);
      value = (lane & distance) != 0 ? other - value : value + other;
    }
  }
#pragma unroll
  for (float& value : v) value *= 0.08838834764831845F;  // 128^-0.5
}

__global__ void __launch_bounds__(32 * kWarps)
    indexer_quantise_kernel(const IndexerQuantiseParams params) {
  static_assert(kIndexDim == kQuantGroup);
  const int lane = threadIdx.x % 32;
  for (std::int64_t row = std::int64_t{blockIdx.x} * kWarps + threadIdx.x / 32; row < params.rows;
       row += std::int64_t{gridDim.x} * kWarps) {
    const auto* x =
        static_cast<const __nv_bfloat16*>(params.x) + row * params.x_stride + lane * kLaneValues;
    float values[kLaneValues];
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) values[i] = __bfloat162float(x[i]);
    hadamard(values, lane);
    const float scale = group_scale(group_absmax(values), params.scale_format);
    const std::uint32_t packed = group_values(values, scale);
    auto* out = params.values + row * kIndexDim + lane * kLaneValues;
#pragma unroll
    for (int i = 0; i < kLaneValues; ++i) out[i] = static_cast<std::uint8_t>(packed >> (8 * i));
    if (lane != 0) continue;
    if (params.scales != nullptr) params.scales[row] = scale;
    if (params.weights != nullptr) {
      params.weights_out[row] = static_cast<float>(static_cast<double>(params.weights[row]) *
                                                   scale * params.weight_factor);
    }
  }
}

}  // namespace

cudaError_t launch(const QuantiseGroupsParams& params, cudaStream_t stream) {
  const std::int64_t groups = params.rows * ((params.dim + kQuantGroup - 1) / kQuantGroup);
  quantise_groups_kernel<<<grid_size(groups, kWarps), 32 * kWarps, 0, stream>>>(params);
  return cudaGetLastError();
}

cudaError_t launch(const IndexerQuantiseParams& params, cudaStream_t stream) {
  indexer_quantise_kernel<<<grid_size(params.rows, kWarps), 32 * kWarps, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::rows
