#pragma once

// Sparse attention of 8, 16 or 32 heads over bf16 rows, operands swapped: S^T = K Q^T and O^T = V^T
// P^T, so that the rows of the cache are M of both products and the heads N. kernel.cuh gives few
// heads the tensor and shared-memory work of 64. Budget: docs/kernels/sparse_mla.md, "few_heads".
//
//   bound by  L2 gather of 73.7 KB a block: 2140 clk a block and SM at 8 TB/s in all
//   smem      Q 9 ... 37 KB, 9 ... 12 tiles of 64 rows x 64 columns, P 1 ... 4 KB: two CTAs an SM
//   limits    heads 8, 16, 32; bf16 rows; q, rows and out 16-byte aligned
//
// One item is a token with all its heads; CTAs are persistent, two an SM: while one is at its
// softmax the other multiplies. Roles (warpgroups)
//   0  attends: S^T (64 x heads), softmax over rows = lanes and warps, P^T as [head][row] in shared
//      memory, O^T (512 x heads, 4 * heads registers a thread), output
//   1  gathers: cp.async of rows into a ring of tiles; a block takes nine, rope first
//
//   barrier          arrives                                 waits
//   full[slot]       128 gathering threads, by their copies  attends, before the tile's S
//   free[slot]       4 attending warps: rope when S is       gathers, before it fills the slot
//   again
//                    there, latent tiles when multiplied
//
// A thread holds S and O of the same heads, so rescaling needs no exchange. The reference maximum
// is lazy as in kernel.cuh: whether any score exceeds it by 2^8 is asked of the warpgroup in the
// barrier that stands there anyway, and only then the maxima are brought together. All orders are
// fixed: two runs agree bit for bit, alone or in a batch.

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/ptx/transpose.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma_few_columns.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/config.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/gather_bf16.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/softmax.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

#include <cuda_bf16.h>

#include <type_traits>
#include <utility>

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kFewThreads = 2 * kWarpgroup;
inline constexpr int kFewCtasOfSm = 2;
inline constexpr int kFewLaunchRegisters = 128;
inline constexpr int kAttendRegisters = 216;
inline constexpr int kGatherRegisters = 40;
inline constexpr int kAttendBarrier = 1;
inline constexpr int kLatentTiles = kTiles - 1;
static_assert(kAttendRegisters + kGatherRegisters <= 2 * kFewLaunchRegisters);

template <int kHeads>
struct FewHeadsStorage {
  static constexpr int kTileSlots = kHeads == 32 ? 9 : kHeads == 16 ? 11 : 12;
  alignas(1024) std::byte q[kTiles][kHeads * 128];  // [head, 64 columns], 128-byte swizzle
  std::byte rows[kTileSlots][kTileBytes];           // [row, 64 columns]
  std::byte p[kHeads * 128];                        // [head, 64 rows]
  float of_warp[4][kHeads];                         // maxima, then sums
  std::uint64_t full[kTileSlots], free[kTileSlots];
};
// 228 KB an SM, of which each CTA takes 1 KB for itself.
inline constexpr std::size_t kMaxSharedOfTwo = (228 * 1024 - 2 * 1024) / 2;
static_assert(sizeof(FewHeadsStorage<8>) <= kMaxSharedOfTwo);
static_assert(sizeof(FewHeadsStorage<16>) <= kMaxSharedOfTwo);
static_assert(sizeof(FewHeadsStorage<32>) <= kMaxSharedOfTwo);

// Begins to copy Q of an item; all products with the one before are done.
template <int kHeads>
__device__ void copy_query(const SparseMlaParams& params, const Item& item,
                           FewHeadsStorage<kHeads>& shared, int thread) {
  const auto* base =
      static_cast<const __nv_bfloat16*>(params.q) + item.token * params.q_token_stride;
  const std::uint32_t q = ptx::shared_address(shared.q);
#pragma unroll 1
  for (int i = thread; i < kTiles * kHeads * 8; i += kWarpgroup) {
    const int chunk = i % 8;
    const int head = i / 8 % kHeads;
    const int tile = i / (8 * kHeads);
    ptx::cp_async_16(q + tile * kHeads * 128 + chunk_offset(head, chunk),
                     base + head * params.q_head_stride + 64 * tile + 8 * chunk, 16);
  }
}

// O^T / sum, turned: a lane then holds two neighbouring columns of one head.
template <int kHeads>
__device__ void store_heads(const SparseMlaParams& params, const Item& item,
                            const float (&o)[4 * kHeads], const float (&inverse)[kHeads / 4],
                            int warp, int lane) {
#pragma unroll
  for (int j = 0; j < kHeads / 8; ++j) {
    __nv_bfloat16* out = output_row(params, item, 8 * j + lane / 4) + 16 * warp + 2 * (lane % 4);
#pragma unroll
    for (int tile = 0; tile < kLatentTiles; ++tile) {
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const int at = tile * (kHeads / 2) + 4 * j + 2 * r;
        const std::uint32_t word =
            ptx::transpose_8x8(pack_bf16(o[at] * inverse[2 * j], o[at + 1] * inverse[2 * j + 1]));
        *reinterpret_cast<std::uint32_t*>(out + 64 * tile + 8 * r) = word;
      }
    }
  }
}

// O^T (+)= V^T P^T of one block, a committed group of products for each tile of 64 columns.
template <int kHeads, int kSlotsOfRing, int... kTile>
__device__ void multiply_values(float (&o)[4 * kHeads], std::uint32_t rows, Ring<kSlotsOfRing> ring,
                                std::uint64_t p, bool accumulate,
                                std::integer_sequence<int, kTile...>) {
  const auto tile = [&]<int kFirst>(std::integral_constant<int, kFirst>) {
    const std::uint64_t v = ptx::swizzled_128b(rows + ring.slot * kTileBytes, kTileBytes);
#pragma unroll
    for (int k = 0; k < 4; ++k)  // 16 rows a step: 2048 bytes of the tile, 32 of a row of P
      ptx::wgmma_m64_few<kHeads, true, kFirst>(o, v + 128 * k, p + 2 * k, k > 0 || accumulate);
    ptx::wgmma_commit();
    ring.advance();
  };
  (tile(std::integral_constant<int, kTile*(kHeads / 2)>()), ...);
}

// Frees each tile as soon as its group is done.
template <int kHeads, int kSlotsOfRing, int... kTile>
__device__ void release_values(FewHeadsStorage<kHeads>& shared, Ring<kSlotsOfRing> ring, int lane,
                               std::integer_sequence<int, kTile...>) {
  const auto tile = [&]<int kPending>(std::integral_constant<int, kPending>) {
    ptx::wgmma_wait<kPending>();
    ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.free[ring.slot]), lane);
    ring.advance();
  };
  (tile(std::integral_constant<int, kLatentTiles - 1 - kTile>()), ...);
}

// Thread `lane` of warp w holds rows 16 w + lane / 4 (+ 8) of S^T, and rows 64 t + the same of O^T;
// of both the heads 8 j + 2 * (lane % 4) (+ 1), which are entries 2 j (+ 1) of maximum and sum.
template <int kHeads>
__device__ void attend_role(const SparseMlaParams& params, FewHeadsStorage<kHeads>& shared) {
  constexpr int kGroups = kHeads / 8;
  constexpr int kOwn = kHeads / 4;  // heads of a thread
  const int thread = threadIdx.x;
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int quad = lane % 4;
  const int row = 16 * warp + lane / 4;
  const ScoreScale score_scale(params.scale);
  const float scale = score_scale.scale;
  const std::uint32_t q = ptx::shared_address(shared.q);
  const std::uint32_t rows = ptx::shared_address(shared.rows);
  const std::uint64_t p_operand = ptx::swizzled_128b(ptx::shared_address(shared.p), 16);
  // Where this lane's columns of P^T go: head lane % 8 (of the second 8 for the upper lanes), rows
  // 16 w + 8 * (lane / 8 % 2) ... + 7.
  const std::uint32_t p_head = lane % 8 + lane / 16 * 8 * (kHeads > 8 ? 1 : 0);
  const std::uint32_t p_at =
      ptx::shared_address(shared.p) + chunk_offset(p_head, 2 * warp + lane / 8 % 2);
  Ring<FewHeadsStorage<kHeads>::kTileSlots> ring;

  Work<Merge::kNone> work(params);
  if (work.valid()) copy_query(params, work.item(params), shared, thread);
  while (work.valid()) {
    const Item item = work.item(params);
    work.next();
    const auto copy_next_query = [&] {
      if (work.valid()) copy_query(params, work.item(params), shared, thread);
    };
    float maximum[kOwn], sum[kOwn];
#pragma unroll
    for (int h = 0; h < kOwn; ++h) {
      maximum[h] = kMaximumFloor;
      sum[h] = 0;
    }
    std::int32_t entries[2];
    const auto read_entries = [&](int block) {
#pragma unroll
      for (int r = 0; r < 2; ++r) entries[r] = listed(params, item, block * kBlock + row + 8 * r);
    };
    read_entries(item.first_block);
    ptx::cp_async_wait_all();
    ptx::fence_async_shared();
    ptx::named_barrier_sync(kAttendBarrier, kWarpgroup);

    float o[4 * kHeads];
    if (item.first_block == item.last_block) {
#pragma unroll
      for (float& value : o) value = 0;
      copy_next_query();
    }
#pragma unroll 1
    for (int block = item.first_block; block < item.last_block; ++block) {
      const bool fresh = block == item.first_block;
      const std::uint32_t rope_slot = ring.slot;
      float s[kHeads / 2];
      auto latent = ring;  // of the first latent tile
      latent.advance();
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {  // rope, then the latent tiles in order
        const int tile = i == 0 ? kRopeTile : i - 1;
        ptx::mbarrier_wait(ptx::shared_address(&shared.full[ring.slot]), ring.parity);
        ptx::wgmma_fence();
        const std::uint64_t a = ptx::swizzled_128b(rows + ring.slot * kTileBytes, 16);
        const std::uint64_t b = ptx::swizzled_128b(q + tile * kHeads * 128, 16);
#pragma unroll
        for (int step = 0; step < 4; ++step)
          ptx::wgmma_m64_few<kHeads, false, 0>(s, a + 2 * step, b + 2 * step, i + step > 0);
        ring.advance();
      }
      ptx::wgmma_commit();
      ptx::own_registers(s);
      ptx::wgmma_wait<0>();
      ptx::own_registers(s);
      ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.free[rope_slot]), lane);

      score_scale.apply_sign(s);
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (names_row(params, entries[r])) continue;
#pragma unroll
        for (int j = 0; j < kGroups; ++j) s[4 * j + 2 * r] = s[4 * j + 2 * r + 1] = -INFINITY;
      }
      read_entries(block + 1);

      bool raise = false;
#pragma unroll
      for (int h = 0; h < kOwn; ++h) {
        const int at = h / 2 * 4 + h % 2;
        raise |= fmaxf(s[at], s[at + 2]) * scale > maximum[h] + kLazyExponent;
      }
      // All warps have their S, so Q is free; and all have multiplied the last P.
      raise = ptx::named_barrier_any(kAttendBarrier, kWarpgroup, raise);
      if (block + 1 == item.last_block) copy_next_query();
      if (raise) {
#pragma unroll
        for (int h = 0; h < kOwn; ++h) {
          const int at = h / 2 * 4 + h % 2;
          float largest = fmaxf(fmaxf(s[at], s[at + 2]), -INFINITY) * scale;
#pragma unroll
          for (int step = 4; step < 32; step *= 2)
            largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, step));
          if (lane < 4) shared.of_warp[warp][h / 2 * 8 + 2 * quad + h % 2] = largest;
        }
        ptx::named_barrier_sync(kAttendBarrier, kWarpgroup);
#pragma unroll
        for (int h = 0; h < kOwn; ++h) {
          const int head = h / 2 * 8 + 2 * quad + h % 2;
          const float largest = fmaxf(fmaxf(shared.of_warp[0][head], shared.of_warp[1][head]),
                                      fmaxf(shared.of_warp[2][head], shared.of_warp[3][head]));
          const float next = largest > maximum[h] + kLazyExponent ? largest : maximum[h];
          const float factor = ptx::exp2_approximate(maximum[h] - next);
          maximum[h] = next;
          sum[h] *= factor;
          if (fresh) continue;
#pragma unroll
          for (int i = 0; i < 2 * kLatentTiles; ++i)
            o[i / 2 * (kHeads / 2) + h / 2 * 4 + i % 2 * 2 + h % 2] *= factor;
        }
      }

      std::uint32_t p[kGroups][2];
#pragma unroll
      for (int j = 0; j < kGroups; ++j) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          const float a = ptx::exp2_approximate(fmaf(s[4 * j + 2 * r], scale, -maximum[2 * j]));
          const float b =
              ptx::exp2_approximate(fmaf(s[4 * j + 2 * r + 1], scale, -maximum[2 * j + 1]));
          sum[2 * j] += a;
          sum[2 * j + 1] += b;
          p[j][r] = pack_bf16(a, b);
        }
      }
      if constexpr (kGroups == 1) {
        ptx::stmatrix_transposed_x2(p_at, p[0][0], p[0][1]);
      } else {
#pragma unroll
        for (int j = 0; j < kGroups; j += 2)
          ptx::stmatrix_transposed_x4(p_at + j * 8 * 128, p[j][0], p[j][1], p[j + 1][0],
                                      p[j + 1][1]);
      }
      ptx::fence_async_shared();
      ptx::named_barrier_sync(kAttendBarrier, kWarpgroup);

      ptx::own_registers(o);
      ptx::wgmma_fence();
      constexpr auto kEach = std::make_integer_sequence<int, kLatentTiles>();
      multiply_values<kHeads>(o, rows, latent, p_operand, !fresh, kEach);
      release_values<kHeads>(shared, latent, lane, kEach);
      ptx::own_registers(o);
    }

#pragma unroll
    for (int h = 0; h < kOwn; ++h) {
#pragma unroll
      for (int step = 4; step < 32; step *= 2) sum[h] += __shfl_xor_sync(0xffffffff, sum[h], step);
      if (lane < 4) shared.of_warp[warp][h / 2 * 8 + 2 * quad + h % 2] = sum[h];
    }
    ptx::named_barrier_sync(kAttendBarrier, kWarpgroup);
    float inverse[kOwn];
#pragma unroll
    for (int h = 0; h < kOwn; ++h) {
      const int head = h / 2 * 8 + 2 * quad + h % 2;
      const float total = shared.of_warp[0][head] + shared.of_warp[1][head] +
                          (shared.of_warp[2][head] + shared.of_warp[3][head]);
      inverse[h] = total == 0 ? 0 : 1 / total;
      if (thread < 4) write_lse(params, item, head, maximum[h], total);
    }
    store_heads<kHeads>(params, item, o, inverse, warp, lane);
  }
}

// Rows of the items in the order of attend_role, tile by tile: 8 lanes to 128 bytes of a row, four
// rows a thread.
template <int kHeads>
__device__ void gather_role(const SparseMlaParams& params, FewHeadsStorage<kHeads>& shared,
                            int thread) {
  const std::uint64_t keep = ptx::policy_evict_last();
  const int row = thread / 8;
  const int chunk = thread % 8;
  const auto* base = static_cast<const std::byte*>(params.kv.data) + 16 * chunk;
  const std::uint32_t tiles = ptx::shared_address(shared.rows) + chunk_offset(row, chunk);
  Ring<FewHeadsStorage<kHeads>::kTileSlots> ring;
  for (Work<Merge::kNone> work(params); work.valid(); work.next()) {
    const Item item = work.item(params);
    ListedRows rows;
    rows.read(params, item, item.first_block, row);
#pragma unroll 1
    for (int block = item.first_block; block < item.last_block; ++block) {
      rows.take(params, item, block, row, base);
#pragma unroll
      for (int i = 0; i < kTiles; ++i) {
        const int tile = i == 0 ? kRopeTile : i - 1;
        ptx::mbarrier_wait(ptx::shared_address(&shared.free[ring.slot]), ring.parity ^ 1);
        const std::uint32_t here = ptx::in_a_register(tiles + ring.slot * kTileBytes);
#pragma unroll
        for (int pass = 0; pass < ListedRows::kPasses; ++pass)
          ptx::cp_async_16(here + pass * ListedRows::kRowsAtOnce * 128,
                           rows.source[pass] + tile * 128, rows.bytes[pass], keep);
        ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.full[ring.slot]));
        ring.advance();
      }
    }
  }
}

template <int kHeads>
__global__ void __launch_bounds__(kFewThreads, kFewCtasOfSm)
    few_heads_kernel(const __grid_constant__ SparseMlaParams params) {
  extern __shared__ std::byte shared_bytes[];
  auto& shared = *reinterpret_cast<FewHeadsStorage<kHeads>*>(shared_bytes);
  if (threadIdx.x == 0) {
    for (auto& barrier : shared.full) ptx::mbarrier_init(ptx::shared_address(&barrier), kWarpgroup);
    for (auto& barrier : shared.free)
      ptx::mbarrier_init(ptx::shared_address(&barrier), 4 * ptx::kArrivalsOfWarp);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  if (threadIdx.x < kWarpgroup) {
    ptx::change_registers<kAttendRegisters, kFewLaunchRegisters>();
    attend_role<kHeads>(params, shared);
  } else {
    ptx::change_registers<kGatherRegisters, kFewLaunchRegisters>();
    gather_role<kHeads>(params, shared, threadIdx.x - kWarpgroup);
  }
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
