#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/plain/sparse_mla.hpp"

#include <cuda_bf16.h>
#include <cuda_fp8.h>

// One CTA a (token, head): scores of the whole list to shared memory, a warp an entry; softmax;
// then each thread sums four columns over the list.
//
//   bound by  reading every row heads * 2 times; not meant to be fast
//   smem      4 * topk bytes
//   limits    topk <= kMaxTopk; tokens * heads up to 2^31 - 1 (gridDim.x)
namespace dsaperf::kernels::plain {
namespace {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / 32;

__device__ float element(const SparseMlaParams& params, std::int64_t row, int column) {
  const auto* bytes =
      static_cast<const unsigned char*>(params.kv.data) + row * params.kv.row_stride_bytes;
  if (params.kv.format == KvRows::Format::kBf16)
    return __bfloat162float(reinterpret_cast<const __nv_bfloat16*>(bytes)[column]);
  if (column >= kLatentDim)
    return __bfloat162float(
        reinterpret_cast<const __nv_bfloat16*>(bytes + kKvFp8RopeOffset)[column - kLatentDim]);
  __nv_fp8_e4m3 value;
  value.__x = bytes[column];
  return static_cast<float>(value) *
         reinterpret_cast<const float*>(bytes + kKvFp8ScaleOffset)[column / kQuantGroup];
}

__device__ float over_block(float value, bool maximum, float* partial) {
  for (int step = 16; step > 0; step /= 2) {
    const float other = __shfl_xor_sync(0xffffffff, value, step);
    value = maximum ? fmaxf(value, other) : value + other;
  }
  __syncthreads();
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
  __syncthreads();
  value = partial[0];
  for (int w = 1; w < kWarps; ++w) value = maximum ? fmaxf(value, partial[w]) : value + partial[w];
  return value;
}

__global__ void __launch_bounds__(kThreads)
    sparse_mla_kernel(const __grid_constant__ SparseMlaParams params) {
  extern __shared__ float scores[];
  __shared__ float partial[kWarps];
  const std::int64_t token = blockIdx.x / params.heads;
  const int head = static_cast<int>(blockIdx.x % params.heads);
  const std::int32_t* indices = params.indices + token * params.indices_stride;
  const auto* query = static_cast<const __nv_bfloat16*>(params.q) + token * params.q_token_stride +
                      head * params.q_head_stride;
  int length = params.topk;
  if (params.topk_length != nullptr) length = min(max(params.topk_length[token], 0), length);
  const auto listed = [&](int i) { return indices[i] >= 0 && indices[i] < params.kv.rows; };

  for (int i = static_cast<int>(threadIdx.x) / 32; i < length; i += kWarps) {
    float dot = 0;
    if (listed(i)) {
      for (int d = static_cast<int>(threadIdx.x) % 32; d < kKeyDim; d += 32)
        dot += __bfloat162float(query[d]) * element(params, indices[i], d);
      for (int step = 16; step > 0; step /= 2) dot += __shfl_xor_sync(0xffffffff, dot, step);
    }
    if (threadIdx.x % 32 == 0) scores[i] = listed(i) ? dot * params.scale : -INFINITY;
  }
  __syncthreads();
  float largest = -INFINITY;
  for (int i = static_cast<int>(threadIdx.x); i < length; i += kThreads)
    largest = fmaxf(largest, scores[i]);
  largest = over_block(largest, true, partial);
  const float reference = largest == -INFINITY ? 0 : largest;
  float sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < length; i += kThreads) {
    scores[i] = expf(scores[i] - reference);
    sum += scores[i];
  }
  sum = over_block(sum, false, partial);

  auto* out = static_cast<__nv_bfloat16*>(params.out) + token * params.out_token_stride +
              head * params.out_head_stride;
  for (int column = static_cast<int>(threadIdx.x); column < kLatentDim; column += kThreads) {
    float value = 0;
    for (int i = 0; i < length; ++i)
      if (listed(i)) value += scores[i] * element(params, indices[i], column);
    out[column] = __float2bfloat16(sum == 0 ? 0 : value / sum);
  }
  if (params.lse != nullptr && threadIdx.x == 0)
    params.lse[token * params.lse_stride + head] = sum == 0 ? -INFINITY : largest + logf(sum);
}

}  // namespace

cudaError_t launch_sparse_mla(const SparseMlaParams& params, cudaStream_t stream) {
  const auto ctas = static_cast<unsigned>(params.tokens * params.heads);
  sparse_mla_kernel<<<ctas, kThreads, sizeof(float) * params.topk, stream>>>(params);
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::plain
