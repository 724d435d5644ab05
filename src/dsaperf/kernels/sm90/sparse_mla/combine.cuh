#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"
#include "dsaperf/kernels/sm90/sparse_mla/partial.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

// Brings the partial results of split lists together: out = sum of 2^(m_p - M) o_p over the sum of
// 2^(m_p - M) s_p, with M the largest m_p. A thread has eight loads of 16 bytes in flight: up to
// eight parts of a piece, or fewer of two or four pieces; one, two or four warps share a piece and
// add up in shared memory. All orders are fixed, so two runs agree bit for bit.
//
//   bound by  L2: 128 KB an SM where the lists are split over all of them; 24 ... 34 B/clk: 2.1 us
//   limits    parts <= 32
//
// Launched to overlap the kernel that writes the parts, for whose end it waits. One CTA an SM, by
// its claim on shared memory: a CTA is given to the first SM that has room for it and stays there.
// While the other kernel holds 128 SMs, small ones would crowd on the four that are left.
namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kMostCombineThreads = 1024;
inline constexpr int kCombineLoads = 8;
inline constexpr std::size_t kCombineSharedBytes = 116 * 1024;  // more than half of an SM's

// Warps that share a piece.
constexpr int combine_groups(int parts) {
  return parts <= kCombineLoads ? 1 : parts <= 2 * kCombineLoads ? 2 : 4;
}
static_assert(kMaxParts <= 4 * kCombineLoads);

// Pieces that a thread brings together.
constexpr int combine_pieces(int parts) {
  return parts <= kCombineLoads / 4 ? 4 : parts <= kCombineLoads / 2 ? 2 : 1;
}

struct CombineShape {
  int grid, threads;
};

// CTAs of up to 1024 threads, smaller where there are SMs for them.
constexpr CombineShape combine_shape(std::int64_t tokens, int heads, int parts, int sm_count) {
  const std::int64_t warps =
      tokens * heads / kPieceHeads * kPieces * combine_groups(parts) / combine_pieces(parts);
  CombineShape shape{.grid = 0, .threads = kMostCombineThreads};
  const auto ctas = [&](int threads) { return (warps + threads / 32 - 1) / (threads / 32); };
  while (shape.threads > 128 && ctas(shape.threads / 2) <= sm_count) shape.threads /= 2;
  shape.grid = static_cast<int>(ctas(shape.threads));
  return shape;
}

// Weights of an item's parts for the lanes' heads: lane l has those of head l / 4, parts l % 4,
// 4 + l % 4 ... up to kParts.
template <int kParts>
struct PartWeights {
  float own[kParts / 4];
  float largest, total;

  // stats: of the first part, of the lane's head.
  __device__ PartWeights(const float2* stats, int parts, int quad) {
    float2 read[kParts / 4];
#pragma unroll
    for (int k = 0; k < kParts / 4; ++k) {
      const int part = 4 * k + quad;
      read[k] = part < parts ? stats[part * kHeadTile] : make_float2(-INFINITY, 0);
    }
    // Every part has a finite largest score (kMaximumFloor at least), or +inf or NaN throughout.
    largest = read[0].x;
#pragma unroll
    for (int k = 1; k < kParts / 4; ++k) largest = fmaxf(largest, read[k].x);
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
    total = 0;
#pragma unroll
    for (int k = 0; k < kParts / 4; ++k) {
      own[k] = 4 * k + quad < parts ? ptx::exp2_approximate(read[k].x - largest) : 0;
      total += read[k].y * own[k];
    }
    total += __shfl_xor_sync(0xffffffff, total, 1);
    total += __shfl_xor_sync(0xffffffff, total, 2);
  }

  // Of part first + kCombineLoads * group, by the lane that has it.
  __device__ float of(int first, int group) const {
    float here = own[first / 4];
#pragma unroll
    for (int g = 1; g < kParts / kCombineLoads; ++g)
      if (g == group) here = own[first / 4 + g * kCombineLoads / 4];
    return __shfl_sync(0xffffffff, here, static_cast<int>(threadIdx.x & 28) | first % 4);
  }
};

__device__ inline void add_weighed(float4& sum, const float4& value, float weight) {
  sum.x += value.x * weight;
  sum.y += value.y * weight;
  sum.z += value.z * weight;
  sum.w += value.w * weight;
}

// kThreadPieces: combine_pieces(params.parts).
template <int kThreadPieces>
__global__ void __launch_bounds__(kMostCombineThreads, 1)
    combine_parts_kernel(const __grid_constant__ PartsParams params) {
  constexpr int kAtOnce = kCombineLoads / kThreadPieces;  // parts
  extern __shared__ std::byte shared_bytes[];
  auto* sums = reinterpret_cast<float4*>(shared_bytes);  // of all groups but the first, by piece
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int groups = kThreadPieces == 1 ? combine_groups(params.parts) : 1;
  const int group = warp % groups;
  const int in_cta = warp / groups;
  const int in_all = static_cast<int>(blockIdx.x * (blockDim.x / 32) / groups) + in_cta;
  const int piece = in_all * kThreadPieces % kPieces;
  const std::int64_t eight = std::int64_t{in_all} * kThreadPieces / kPieces;  // heads
  const int eights = min(params.heads, kHeadTile) / kPieceHeads;              // of an item
  const int tiles = head_tiles(params.heads);
  Item item{};
  item.token = eight / eights / tiles;
  item.head0 = static_cast<int>(eight / eights % tiles) * kHeadTile;
  item.heads = min(params.heads, kHeadTile);
  const int first_head = static_cast<int>(eight % eights) * kPieceHeads;
  const int head = first_head + lane / 4;
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  float4 merged[kThreadPieces];
#pragma unroll
  for (float4& sum : merged) sum = make_float4(0, 0, 0, 0);
  float largest = 0, total = 0;
  const bool there = item.token < params.tokens;  // the same in a warp
  if (there) {
    const float4* first =
        pieces_of(params, first_partial_row(params, item, group * kAtOnce) + first_head) +
        piece * 32 + lane;
    float4 read[kAtOnce][kThreadPieces];
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i)
#pragma unroll
      for (int j = 0; j < kThreadPieces; ++j)
        read[i][j] = group * kAtOnce + i < params.parts
                         ? first[i * (kHeadTile * kLatentDim / 4) + 32 * j]
                         : make_float4(0, 0, 0, 0);
    const PartWeights<kThreadPieces == 1 ? kMaxParts : 4> weights(
        params.stats + first_partial_row(params, item, 0) + head, params.parts, lane % 4);
    largest = weights.largest;
    total = weights.total;
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const float weight = weights.of(i, group);
#pragma unroll
      for (int j = 0; j < kThreadPieces; ++j) add_weighed(merged[j], read[i][j], weight);
    }
  }
  if (groups > 1) {
    float4* of_piece = sums + in_cta * (groups - 1) * 32 + lane;
    if (group > 0) of_piece[(group - 1) * 32] = merged[0];
    __syncthreads();
    if (group > 0) return;
    for (int g = 1; g < groups; ++g) add_weighed(merged[0], of_piece[(g - 1) * 32], 1);
  }
  if (!there) return;
  const float inverse = total == 0 ? 0 : 1 / total;
#pragma unroll
  for (int j = 0; j < kThreadPieces; ++j)
    store_piece(pack_bf16(merged[j].x * inverse, merged[j].y * inverse),
                pack_bf16(merged[j].z * inverse, merged[j].w * inverse),
                output_row(params, item, head) + (piece + j) * kPieceColumns);
  if (piece == 0 && lane % 4 == 0) write_lse(params, item, head, largest, total);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
