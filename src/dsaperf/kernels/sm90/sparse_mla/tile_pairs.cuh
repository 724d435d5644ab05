#pragma once

// Sparse attention of up to 64 heads a work item over bf16 rows, with room for 2.75 blocks of rows,
// where kernel.cuh has 2 to 3, and scores multiplied before the values of the block before. One CTA
// has the whole list of an item. Budget: docs/kernels/sparse_mla.md, "tile_pairs".
//
//   bound by  per block and SM: tensor cores 2176 clk, L2 gather of 73.7 KB 2170 ... 2400
//   smem      three tiles of Q 24.6 KB (six are in registers), 11 pairs of tiles of 64 rows x 64
//             columns 180.2 KB, 3 tiles of rope 24.6 KB, which turn into P
//   limits    bf16 rows; q, rows and out 16-byte aligned
//
// Roles (warpgroups) and order of additions as in kernel.cuh. What differs:
//   - The latent columns of a block are four pairs of tiles, columns 0, 256, 128, 384 ... + 127, in
//     a ring; values 1 multiply the first and the third, values 2 the others.
//   - Q comes through the ring, as if its heads were the rows of a block before the first one: it
//     is on its way while the item before is still multiplied.
//   - P of a block is announced when the last products of the next block's scores are left, if that
//     block's rows are there, so that the tensor cores have the values to multiply beside the
//     softmax.
//   - The gathering warps say which rows are there, so the scores' warps read no list; and they
//     call the rows of the next block into L2.
//
//   barrier         arrives                              waits
//   full[pair],     128 gathering threads, by their      scores, before these columns
//   rope_full       copies; rope: and 4 warps, by hand
//   free[pair]      4 warps of values 1 or 2, when       gathers, before it fills the pair again
//                   multiplied; of Q: 4 score warps
//   p_full          4 score warps; also when Q is taken  values
//   p_free          8 warps of values, when multiplied;  gathers, before it fills rope again
//                   of Q: at once
//   sum_full,       4 score warps,                       values,
//   sum_free        8 value warps                        scores, once an item

#include "dsaperf/kernels/sm90/ptx/shared_memory.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/kernel.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kPairsThreads = 4 * kWarpgroup;
inline constexpr int kPairsLaunchRegisters = 128;
inline constexpr int kPairsScoreRegisters = 160;
inline constexpr int kPairsValueRegisters = 160;
inline constexpr int kPairsGatherRegisters = 32;
static_assert(kPairsScoreRegisters + 2 * kPairsValueRegisters + kPairsGatherRegisters <=
              4 * kPairsLaunchRegisters);

inline constexpr int kPairsOfBlock = 4;
// First tile of the pairs of a block, in the order in which they are filled, used and freed.
__host__ __device__ constexpr int first_tile_of_pair(int pair) {
  return pair / 2 * 2 + pair % 2 * kHalfTiles;
}

struct TilePairsStorage {
  static constexpr int kPairs = 11;
  static constexpr int kPSlots = 3;
  static constexpr int kSharedTiles = 3;                // of Q: those of the last pair, and rope
  alignas(1024) std::byte q[kSharedTiles][kTileBytes];  // [head, 64 columns]
  std::byte rows[kPairs][2][kTileBytes];                // [token, 64 columns]
  std::byte rope[kPSlots][kTileBytes];                  // turns into P
  float rescale[kPSlots][kHeadTile];
  std::uint32_t rescale_wanted[kPSlots][4];     // by warp (16 heads)
  alignas(8) std::uint16_t listed[kPSlots][4];  // rows that are there, by gathering warp
  float inverse_sum[kHeadTile];
  std::uint64_t full[kPairs], free[kPairs];
  std::uint64_t rope_full[kPSlots];
  std::uint64_t p_full[kPSlots], p_free[kPSlots];
  std::uint64_t sum_full, sum_free;

  __device__ std::byte* p(std::uint32_t slot) { return rope[slot]; }
};
static_assert(sizeof(TilePairsStorage) <= kMaxSharedBytes);
using PairRing = Ring<TilePairsStorage::kPairs>;
using RopeRing = Ring<TilePairsStorage::kPSlots>;

// The columns of Q that are a register operand, those of three pairs, 16 columns each.
inline constexpr int kStepsOfPair = 8;
inline constexpr int kQuerySteps = (kPairsOfBlock - 1) * kStepsOfPair;
using RegisterQuery = std::uint32_t[kQuerySteps][4];

// Takes Q out of the ring, whose place is then free.
__device__ inline void take_query(TilePairsStorage& shared, PairRing& pair, RopeRing& rope,
                                  RegisterQuery& query) {
  std::uint32_t thread = threadIdx.x;
  ptx::compute_from_here(thread);
  const std::uint32_t lane = thread % 32;
  const std::uint32_t row = 16 * (thread / 32) + lane % 16;
  // The warp's own heads; the products of all warps with the Q before are done.
  const auto keep = [&](std::uint32_t from, int tile) {
    const std::uint32_t to = ptx::shared_address(shared.q[tile]);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const std::uint32_t at = 2048 * (thread / 32) + 512 * i + 16 * lane;
      ptx::store_shared_16(to + at, ptx::load_shared_16(from + at));
    }
  };
#pragma unroll
  for (int i = 0; i < kPairsOfBlock; ++i) {
    const std::uint32_t tiles = ptx::shared_address(shared.rows[pair.slot]);
    ptx::mbarrier_wait(ptx::shared_address(&shared.full[pair.slot]), pair.parity);
    if (i < kPairsOfBlock - 1) {
#pragma unroll
      for (int k = 0; k < kStepsOfPair; ++k)
        ptx::ldmatrix_x4(tiles + k / 4 * kTileBytes + chunk_offset(row, 2 * (k % 4) + lane / 16),
                         query[kStepsOfPair * i + k]);
    } else {
      keep(tiles, 0);
      keep(tiles + kTileBytes, 1);
    }
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.free[pair.slot]));
    pair.advance();
  }
  ptx::mbarrier_wait(ptx::shared_address(&shared.rope_full[rope.slot]), rope.parity);
  keep(ptx::shared_address(shared.rope[rope.slot]), 2);
  ptx::fence_async_shared();
  __syncwarp();
  if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.p_full[rope.slot]));
  rope.advance();
  ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
}

// kBeside: P is stored beside the first products of the next block, else before them.
template <bool kBeside>
__device__ void score_tile_pairs(const SparseMlaParams& params, TilePairsStorage& shared) {
  const ScoreScale scale(params.scale);
  PairRing pair;
  RopeRing rope;
  std::uint32_t item_count = 0;
  for (Work<Merge::kNone> work(params); work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    LazySoftmax softmax;
    RegisterQuery query;
    take_query(shared, pair, rope, query);
    // Of the block before: P while it is in registers, and its barrier while it is not announced.
    std::uint32_t p[16];
    float factor[2];
    bool wanted = false, held = false;
    std::uint32_t last_p = 0;
    const auto store = [&] {
      if (!held) return;
      std::uint32_t thread = threadIdx.x;
      ptx::compute_from_here(thread);
      const std::uint32_t slot = (rope.slot == 0 ? TilePairsStorage::kPSlots : rope.slot) - 1;
      store_probabilities(shared, slot, thread, p, wanted, factor);
      last_p = ptx::shared_address(&shared.p_full[slot]);
      held = false;
    };
    const auto announce = [&] {
      if (last_p != 0 && threadIdx.x % 32 == 0) ptx::mbarrier_arrive(last_p);
      last_p = 0;
    };
    // Rows that come late let the values go first.
    const auto wait_for_rows = [&](std::uint64_t& full, std::uint32_t parity) {
      const std::uint32_t barrier = ptx::shared_address(&full);
      if (ptx::mbarrier_test(barrier, parity)) return;
      store();
      announce();
      ptx::mbarrier_wait(barrier, parity);
    };
#pragma unroll 1
    for (int blocks = item.last_block - item.first_block; blocks > 0; --blocks) {
      float s[32];
      const auto multiply_shared = [&](std::uint32_t tile, int q) {
#pragma unroll
        for (int k = 0; k < 4; ++k)
          ptx::wgmma_m64n64k16_bf16(
              s, ptx::swizzled_128b(ptx::shared_address(shared.q[q]), 16) + 2 * k,
              ptx::swizzled_128b(tile, 16) + 2 * k, 1);
      };
#pragma unroll
      for (int i = 0; i < kPairsOfBlock; ++i) {
        const std::uint32_t tiles = ptx::shared_address(shared.rows[pair.slot]);
        wait_for_rows(shared.full[pair.slot], pair.parity);
        if (i == kPairsOfBlock - 1) wait_for_rows(shared.rope_full[rope.slot], rope.parity);
        ptx::wgmma_fence();
        if (i < kPairsOfBlock - 1) {
#pragma unroll
          for (int k = 0; k < kStepsOfPair; ++k)
            ptx::wgmma_m64n64k16_bf16(
                s, query[kStepsOfPair * i + k],
                ptx::swizzled_128b(tiles + k / 4 * kTileBytes, 16) + 2 * (k % 4), i + k > 0);
          if (kBeside && i == 0) store();
        } else {
          multiply_shared(tiles, 0);
          ptx::wgmma_commit();
          multiply_shared(tiles + kTileBytes, 1);
          multiply_shared(ptx::shared_address(shared.rope[rope.slot]), 2);
          ptx::wgmma_commit();
        }
        pair.advance();
      }
      ptx::wgmma_wait<1>();
      announce();  // the values take as long to begin as the last two tiles
      ptx::own_registers(s);
      ptx::wgmma_wait<0>();
      ptx::own_registers(s);

      std::uint32_t thread = threadIdx.x;
      ptx::compute_from_here(thread);  // registers are scarce while the products run
      scale.apply_sign(s);
      const uint2 listed = *reinterpret_cast<const uint2*>(shared.listed[rope.slot]);
      if ((listed.x & listed.y) != 0xffffffff) {  // uniform in the warp
        mask_scores<0>(s, listed.x, thread % 4);
        mask_scores<1>(s, listed.y, thread % 4);
      }
      wanted = softmax.raise(s, scale.scale, factor);
      softmax.probabilities(s, scale.scale, p);
      held = true;
      rope.advance();
      if constexpr (!kBeside) store();
    }
    store();
    announce();

    softmax.sum_over_lanes();
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_free), (item_count & 1) ^ 1);
    softmax.publish(params, item, shared.inverse_sum);
    __syncwarp();
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.sum_full));
  }
}

// Columns 256 * kHalf ... of the output.
template <int kHalf>
__device__ void value_tile_pairs(const SparseMlaParams& params, TilePairsStorage& shared) {
  constexpr std::uint32_t kPairs = TilePairsStorage::kPairs;
  const int lane = threadIdx.x % 32;
  std::uint32_t first_pair = 0;  // of the block
  RopeRing rope;
  const auto next_block = [&] {
    first_pair += kPairsOfBlock;
    if (first_pair >= kPairs) first_pair -= kPairs;
    rope.advance();
  };
  std::uint32_t item_count = 0;
  for (Work<Merge::kNone> work(params); work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    ptx::mbarrier_wait(ptx::shared_address(&shared.p_full[rope.slot]), rope.parity);  // Q
    if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.p_free[rope.slot]));
    next_block();
    float o[128];
    if (item.first_block == item.last_block) {
#pragma unroll
      for (float& value : o) value = 0;
    }
#pragma unroll 1
    for (int block = item.first_block; block < item.last_block; ++block) {
      const std::uint32_t slot = rope.slot;
      std::uint32_t pairs[2] = {first_pair + kHalf, first_pair + 2 + kHalf};
      for (std::uint32_t& pair : pairs)
        if (pair >= kPairs) pair -= kPairs;
      const std::uint64_t p = ptx::swizzled_128b(ptx::shared_address(shared.p(slot)), 16);
      const std::uint64_t v0 =
          ptx::swizzled_128b(ptx::shared_address(shared.rows[pairs[0]]), kTileBytes);
      const std::uint64_t v1 =
          ptx::swizzled_128b(ptx::shared_address(shared.rows[pairs[1]]), kTileBytes);
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_full[slot]), rope.parity);
      const int fresh = block == item.first_block;
      if (!fresh) rescale_values(shared, slot, o);
      ptx::own_registers(o);
      ptx::wgmma_fence();
      // 16 tokens a step: 32 bytes of a row of P, 16 rows of the latent tiles.
#pragma unroll
      for (int k = 0; k < 4; ++k)
        ptx::wgmma_m64n128k16_bf16_mn<0>(o, p + 2 * k, v0 + 128 * k, k > 0 || fresh == 0);
      ptx::wgmma_commit();
#pragma unroll
      for (int k = 0; k < 4; ++k)
        ptx::wgmma_m64n128k16_bf16_mn<64>(o, p + 2 * k, v1 + 128 * k, k > 0 || fresh == 0);
      ptx::wgmma_commit();
      ptx::wgmma_wait<1>();
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.free[pairs[0]]));
      ptx::wgmma_wait<0>();
      ptx::own_registers(o);
      if (lane == 0) {
        ptx::mbarrier_arrive(ptx::shared_address(&shared.free[pairs[1]]));
        ptx::mbarrier_arrive(ptx::shared_address(&shared.p_free[slot]));
      }
      next_block();
    }
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_full), item_count & 1);
    store_item(params, item, o, shared.inverse_sum, ptx::shared_address(&shared.sum_free), kHalf);
  }
}

// A warp gathers 16 rows of a block, 128 bytes of four rows at a time. Lane l holds the list's
// entry of row l % 16, read one block ahead.
__device__ inline void gather_tile_pairs(const SparseMlaParams& params, TilePairsStorage& shared,
                                         int thread) {
  constexpr int kPasses = 4;
  const int warp = thread / 32;
  const int lane = thread % 32;
  const int row = 16 * warp + lane % 16;
  // Where the lane's 16 bytes of the first four rows go; odd passes exchange halves of 128 bytes.
  const std::uint32_t first = chunk_offset(16 * warp + lane / 8, lane % 8);
  PairRing pair;
  RopeRing rope;
  for (Work<Merge::kNone> work(params); work.valid(); work.next()) {
    const Item item = work.item(params);
    std::int32_t next = row < item.heads ? row : -1;
#pragma unroll 1
    for (int block = item.first_block - 1; block < item.last_block; ++block) {
      const bool is_query = block < item.first_block;
      const bool there = is_query ? next >= 0 : names_row(params, next);
      const std::int32_t entry = there ? next : -1;
      next = listed(params, item, (block + 1) * kBlock + row);
      const auto* base = static_cast<const std::byte*>(params.kv.data);
      std::int64_t stride = params.kv.row_stride_bytes;
      std::uint64_t policy = ptx::policy_evict_last();
      if (is_query) {
        base = reinterpret_cast<const std::byte*>(first_head(params, item));
        stride = params.q_head_stride * static_cast<int>(sizeof(__nv_bfloat16));
        policy = ptx::policy_evict_first();
      }
      const auto copy = [&](const void* to_tiles, int first_tile, auto tiles) {
        const std::uint32_t to = ptx::in_a_register(ptx::shared_address(to_tiles) + first);
#pragma unroll
        for (int pass = 0; pass < kPasses; ++pass) {
          const std::int32_t from = __shfl_sync(0xffffffff, entry, 4 * pass + lane / 8);
          const std::byte* source =
              base + (from < 0 ? 0 : from) * stride + 128 * first_tile + 16 * (lane % 8);
#pragma unroll
          for (int tile = 0; tile < tiles(); ++tile)
            ptx::cp_async_16((to ^ (pass % 2 * 64)) + 512 * pass + tile * kTileBytes,
                             source + tile * 128, from < 0 ? 0 : 16, policy);
        }
      };
#pragma unroll 1
      for (int i = 0; i < kPairsOfBlock; ++i) {
        ptx::mbarrier_wait(ptx::shared_address(&shared.free[pair.slot]), pair.parity ^ 1);
        copy(shared.rows[pair.slot], first_tile_of_pair(i), std::integral_constant<int, 2>());
        ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.full[pair.slot]));
        pair.advance();
      }
      // P, in the rope tile, has been read by both value warpgroups.
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_free[rope.slot]), rope.parity ^ 1);
      copy(shared.rope[rope.slot], kRopeTile, std::integral_constant<int, 1>());
      const std::uint32_t full = ptx::shared_address(&shared.rope_full[rope.slot]);
      ptx::mbarrier_arrive_after_cp_async(full);
      const std::uint32_t rows = __ballot_sync(0xffffffff, there);
      if (lane == 0) {
        shared.listed[rope.slot][warp] = static_cast<std::uint16_t>(rows);
        ptx::mbarrier_arrive(full);
      }
      rope.advance();

      const auto* kv = static_cast<const std::byte*>(params.kv.data);
#pragma unroll
      for (int pass = 0; pass < kPasses; ++pass) {
        const std::int32_t from = __shfl_sync(0xffffffff, next, 4 * pass + lane / 8);
        if (names_row(params, from))
          ptx::prefetch_l2(kv + from * params.kv.row_stride_bytes + 128 * (lane % 8));
      }
      if (lane < 16 && names_row(params, next))
        ptx::prefetch_l2(kv + next * params.kv.row_stride_bytes + 128 * kRopeTile);
    }
  }
}

template <bool kBeside>
__global__ void __launch_bounds__(kPairsThreads, 1)
    tile_pairs_kernel(const __grid_constant__ SparseMlaParams params) {
  extern __shared__ std::byte shared_bytes[];
  auto& shared = *reinterpret_cast<TilePairsStorage*>(shared_bytes);
  const int warpgroup = threadIdx.x / kWarpgroup;
  if (threadIdx.x == 0) {
    const auto init = [](std::uint64_t& barrier, int count) {
      ptx::mbarrier_init(ptx::shared_address(&barrier), count);
    };
    for (auto& barrier : shared.full) init(barrier, kWarpgroup);
    for (auto& barrier : shared.free) init(barrier, 4);
    for (auto& barrier : shared.rope_full) init(barrier, kWarpgroup + 4);
    for (auto& barrier : shared.p_full) init(barrier, 4);
    for (auto& barrier : shared.p_free) init(barrier, 8);
    init(shared.sum_full, 4);
    init(shared.sum_free, 8);
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  if (warpgroup == 0) {
    ptx::change_registers<kPairsScoreRegisters, kPairsLaunchRegisters>();
    score_tile_pairs<kBeside>(params, shared);
  } else if (warpgroup == 1) {
    ptx::change_registers<kPairsValueRegisters, kPairsLaunchRegisters>();
    value_tile_pairs<0>(params, shared);
  } else if (warpgroup == 2) {
    ptx::change_registers<kPairsValueRegisters, kPairsLaunchRegisters>();
    value_tile_pairs<1>(params, shared);
  } else {
    ptx::change_registers<kPairsGatherRegisters, kPairsLaunchRegisters>();
    gather_tile_pairs(params, shared, threadIdx.x - 3 * kWarpgroup);
  }
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
