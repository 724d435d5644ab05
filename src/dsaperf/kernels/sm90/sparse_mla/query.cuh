#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

#include <cuda_bf16.h>

// Q of an item: operand A of the scores, [head, 64 columns] with 128-byte swizzle in shared memory.
// Of bf16 rows' kernel, the first tiles are taken from there to registers.
namespace dsaperf::kernels::sm90::sparse_mla {

// A warpgroup begins to copy tiles kFirst ... kLast - 1, eight lanes to 128 bytes of a head; heads
// that the item has not become zero. Tiles kCalled ... kTiles - 1 it calls into L2.
template <int kFirst, int kLast, int kCalled = kTiles>
__device__ void copy_query(const SparseMlaParams& params, const Item& item, std::uint32_t tiles) {
  constexpr int kAtOnce = kWarpgroup / 8;
  static_assert(kTiles - kCalled <= 8);
  const std::uint64_t once = ptx::policy_evict_first();
  std::uint32_t thread = threadIdx.x % kWarpgroup;
  ptx::compute_from_here(thread);  // once an item; registers are scarce in between
  const int chunk = static_cast<int>(thread % 8);
  int head = static_cast<int>(thread / 8);
  std::uint32_t destination = ptx::in_a_register(tiles + chunk_offset(head, chunk));
  const __nv_bfloat16* source = static_cast<const __nv_bfloat16*>(params.q) +
                                item.token * params.q_token_stride +
                                (item.head0 + head) * params.q_head_stride + 8 * chunk;
#pragma unroll 1
  for (int pass = 0; pass < kHeadTile / kAtOnce; ++pass) {
    const bool valid = head < item.heads;
    const __nv_bfloat16* from = valid ? source : static_cast<const __nv_bfloat16*>(params.q);
#pragma unroll
    for (int tile = kFirst; tile < kLast; ++tile)
      ptx::cp_async_16(destination + (tile - kFirst) * kTileBytes, from + 64 * tile, valid ? 16 : 0,
                       once);
    if (kCalled + chunk < kTiles && valid) ptx::prefetch_l2(from + 64 * kCalled + 56 * chunk);
    head += kAtOnce;
    destination += kAtOnce * 128;
    source += kAtOnce * params.q_head_stride;
  }
}

// The tiles in registers, as operand A: [16 columns]; one unused, no empty array.
template <int kRegisterTiles>
struct QueryWords {
  std::uint32_t words[4 * kRegisterTiles + 1][4];

  __device__ void take(std::uint32_t tiles, int thread) {
    const int lane = thread % 32;
    const std::uint32_t row = thread / 32 * 16 + lane % 16;
#pragma unroll
    for (int k = 0; k < 4 * kRegisterTiles; ++k)
      ptx::ldmatrix_x4(tiles + k / 4 * kTileBytes + chunk_offset(row, k % 4 * 2 + lane / 16),
                       words[k]);
  }
};

}  // namespace dsaperf::kernels::sm90::sparse_mla
