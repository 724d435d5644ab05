#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/gather_bf16.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

#include <cuda_bf16.h>

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kScoreBarrier = 1;

const __device__ inline __nv_bfloat16* first_head(const SparseMlaParams& params, const Item& item) {
  return static_cast<const __nv_bfloat16*>(params.q) + item.token * params.q_token_stride +
         item.head0 * params.q_head_stride;
}

// Q of one item, held by the score warpgroup: the first tiles in registers, as operand A, the rest
// in shared memory, as [head, 64 columns] with 128-byte swizzle.
template <int kRegisterTiles>
struct Query {
  std::uint32_t words[4 * kRegisterTiles + 1][4];  // [16 columns]; one unused, no empty array

  // Begins to copy, and calls what goes to registers into L2; when all products of this warp with
  // the Q before are done.
  __device__ void begin(const SparseMlaParams& params, const Item& item, std::uint32_t tiles,
                        std::uint64_t policy) const {
    const int thread = threadIdx.x;
    const __nv_bfloat16* base = first_head(params, item);
    ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
#pragma unroll
    for (int pass = 0; pass < 4; ++pass) {
      const int row = thread / 8 + 16 * pass;
      const int chunk = thread % 8;
      const bool valid = row < item.heads;
      const __nv_bfloat16* source = base + (valid ? row : 0) * params.q_head_stride + 8 * chunk;
      const std::uint32_t destination = ptx::in_a_register(tiles + chunk_offset(row, chunk));
#pragma unroll
      for (int tile = kRegisterTiles; tile < kTiles; ++tile)
        ptx::cp_async_16(destination + (tile - kRegisterTiles) * kTileBytes, source + 64 * tile,
                         valid ? 16 : 0, policy);
      if constexpr (kRegisterTiles > 0) {
        if (chunk < kRegisterTiles && valid) ptx::prefetch_l2(source + 56 * chunk);
      }
    }
  }

  // Until all of it is there, for all warps.
  __device__ void finish(const SparseMlaParams& params, const Item& item) {
    if constexpr (kRegisterTiles > 0) load_words(params, item);
    ptx::cp_async_wait_all();
    ptx::fence_async_shared();
    ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
  }

 private:
  __device__ void load_words(const SparseMlaParams& params, const Item& item) {
    // Computed anew for each item; the registers are needed in between.
    std::uint32_t thread = threadIdx.x;
    ptx::compute_from_here(thread);
    const int row = 16 * (thread / 32) + thread % 32 / 4;
    const __nv_bfloat16* base = first_head(params, item);
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const bool valid = row + 8 * r < item.heads;
      const std::uint32_t kept = valid ? 0xffffffff : 0;
      const auto* source = reinterpret_cast<const std::uint32_t*>(base + (valid ? row + 8 * r : 0) *
                                                                             params.q_head_stride) +
                           thread % 4;
#pragma unroll
      for (int k = 0; k < 4 * kRegisterTiles; ++k) {
        words[k][r] = __ldg(source + 8 * k) & kept;
        words[k][r + 2] = __ldg(source + 8 * k + 4) & kept;
      }
    }
  }
};

}  // namespace dsaperf::kernels::sm90::sparse_mla
