#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

// Brings the partial results of split lists together: out = sum of 2^(m_p - M) o_p over the sum of
// 2^(m_p - M) s_p, with M the largest m_p. One CTA a (token, head), four columns a thread, parts in
// their order, so two runs agree bit for bit. It is resident before the parts are written (launched
// to overlap the kernel that writes them) and waits for that kernel's end.
//
//   bound by  L2: 2 KB a part and head, all loads of eight parts in flight together
//   limits    parts <= 32
namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kCombineThreads = kLatentDim / 4;

__device__ inline float largest_of_warp(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2)
    value = fmaxf(value, __shfl_xor_sync(0xffffffff, value, step));
  return value;
}

__device__ inline float sum_of_warp(float value) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffff, value, step);
  return value;
}

__global__ void __launch_bounds__(kCombineThreads)
    combine_parts_kernel(const __grid_constant__ PartsParams params) {
  constexpr int kAtOnce = 8;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int head = static_cast<int>(blockIdx.x % static_cast<std::uint32_t>(params.heads));
  Item item{};
  item.token = blockIdx.x / static_cast<std::uint32_t>(params.heads);
  item.head0 = head / kHeadTile * kHeadTile;
  item.heads = min(params.heads, kHeadTile);
  const std::int64_t first = first_partial_row(params, item, 0) + head % kHeadTile;
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  float2 stats = make_float2(-INFINITY, 0);
  if (lane < params.parts) stats = params.stats[first + lane * kHeadTile];
  // Every part has a finite largest score (kMaximumFloor at least), or +inf or NaN throughout.
  const float largest = largest_of_warp(stats.x);
  const float weight = lane < params.parts ? ptx::exp2_approximate(stats.x - largest) : 0;
  const float total = sum_of_warp(lane < params.parts ? stats.y * weight : 0);

  float4 merged = make_float4(0, 0, 0, 0);
  const auto* partial = reinterpret_cast<const float4*>(params.partial + first * kLatentDim);
  constexpr int kQuadsOfPart = kHeadTile * kLatentDim / 4;
#pragma unroll 1
  for (int base = 0; base < params.parts; base += kAtOnce) {
    float4 part[kAtOnce];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
      part[i] = base + i < params.parts ? partial[(base + i) * kQuadsOfPart + threadIdx.x]
                                        : make_float4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const float w = __shfl_sync(0xffffffff, weight, (base + i) % kMaxParts);
      merged.x += part[i].x * w;
      merged.y += part[i].y * w;
      merged.z += part[i].z * w;
      merged.w += part[i].w * w;
    }
  }
  const float inverse = total == 0 ? 0 : 1 / total;
  *reinterpret_cast<uint2*>(output_row(params, item, head % kHeadTile) + 4 * threadIdx.x) =
      make_uint2(pack_bf16(merged.x * inverse, merged.y * inverse),
                 pack_bf16(merged.z * inverse, merged.w * inverse));
  if (threadIdx.x == 0) write_lse(params, item, head % kHeadTile, largest, total);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
