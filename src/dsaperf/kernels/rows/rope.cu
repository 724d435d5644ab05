#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"

#include <cuda_bf16.h>

// Rope in place: a thread a pair; cosines and sines come from the table, so no angle is computed
// here.
//
//   bound by  8 bytes a pair of x, read and written; the table's row is shared by all heads
namespace dsaperf::kernels::rows {
namespace {

constexpr int kThreads = 256;

__global__ void __launch_bounds__(kThreads) rope_kernel(const RopeParams params) {
  const int half = params.dim / 2;
  const std::int64_t pairs = params.tokens * params.heads * half;
  for (std::int64_t p = std::int64_t{blockIdx.x} * kThreads + threadIdx.x; p < pairs;
       p += std::int64_t{gridDim.x} * kThreads) {
    const int i = static_cast<int>(p % half);
    const std::int64_t row = p / half;
    const std::int64_t token = row / params.heads;
    const std::int64_t head = row % params.heads;
    auto* x = static_cast<__nv_bfloat16*>(params.x) + token * params.token_stride +
              head * params.head_stride;
    const bool interleaved = params.pairs == RopePairs::kInterleaved;
    auto& first = x[interleaved ? 2 * i : i];
    auto& second = x[interleaved ? 2 * i + 1 : i + half];
    const float* table = params.cos_sin + std::int64_t{params.positions[token]} * params.dim;
    const float cosine = table[i];
    const float sine = table[half + i];
    const float a = __bfloat162float(first);
    const float b = __bfloat162float(second);
    first = __float2bfloat16_rn(a * cosine - b * sine);
    second = __float2bfloat16_rn(a * sine + b * cosine);
  }
}

}  // namespace

cudaError_t launch(const RopeParams& params, cudaStream_t stream) {
  const std::int64_t pairs = params.tokens * params.heads * (params.dim / 2);
  rope_kernel<<<grid_size(pairs, kThreads), kThreads, 0, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::rows
