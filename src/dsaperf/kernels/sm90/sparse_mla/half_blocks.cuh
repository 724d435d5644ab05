#pragma once

// Sparse attention of up to 64 heads a work item over bf16 rows, in steps of 32 rows, so that five
// blocks fit where kernel.cuh has two, and the scores of one are multiplied while the softmax of
// the one before runs. One CTA has the whole list of an item. Budget: docs/kernels/sparse_mla.md,
// "half_blocks".
//
//   bound by  per 64 rows and SM: shared memory 2450 clk, tensor cores 2180 ... 2430
//   smem      Q 32.8 KB (five of its nine tiles are in registers), 5 x 36.9 KB of rows, P 8 KB
//   limits    bf16 rows; q, rows and out 16-byte aligned
//
// Roles (warpgroups)
//   0     scores: S = Q K^T of the next half block begins, then the softmax of this one, whose P
//         goes to its half of the columns of the P tile
//   1, 2  values: O[:, 256 * c ...] += P V, 128 f32 registers a thread
//   3     gathers rows (cp.async)
//
//   barrier            arrives                                  waits
//   full[place]        128 gathering threads, by their copies   scores, before they multiply
//   free[place]        8 warps of values, when multiplied       gathers, before it fills the place
//   p_full[half]       4 warps of scores                        values
//   p_free[half]       8 warps of values, when multiplied       scores, before they write P
//   sum_full, sum_free 4 score warps, 8 value warps             values, scores, once an item
//
// Order of additions and lazy maximum as in kernel.cuh, but by 32 rows: two runs agree bit for bit.

#include "dsaperf/kernels/sm90/ptx/wgmma_few_columns.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/kernel.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kHalfRows = kBlock / 2;
inline constexpr int kHalfTileBytes = kHalfRows * 128;
inline constexpr int kHalfThreads = 4 * kWarpgroup;
inline constexpr int kHalfLaunchRegisters = 128;
inline constexpr int kHalfScoreRegisters = 160;
inline constexpr int kHalfValueRegisters = 160;
inline constexpr int kHalfGatherRegisters = 32;
static_assert(kHalfScoreRegisters + 2 * kHalfValueRegisters + kHalfGatherRegisters <=
              4 * kHalfLaunchRegisters);

struct HalfBlocksStorage {
  static constexpr int kRegisterTiles = 5;
  static constexpr int kPlaces = 5;
  alignas(1024) std::byte q[kTiles - kRegisterTiles][kTileBytes];  // [head, 64 columns]
  std::byte rows[kPlaces][kTiles][kHalfTileBytes];                 // [row, 64 columns]
  std::byte p[kTileBytes];  // [head, 64 rows]: a half of the columns for each half block
  float rescale[2][kHeadTile];
  std::uint32_t rescale_wanted[2][4];  // by warp (16 heads)
  float inverse_sum[kHeadTile];
  std::uint64_t full[kPlaces], free[kPlaces];
  std::uint64_t p_full[2], p_free[2];
  std::uint64_t sum_full, sum_free;
};
static_assert(sizeof(HalfBlocksStorage) <= kMaxSharedBytes);
using HalfPlaces = Ring<HalfBlocksStorage::kPlaces>;
using HalfQuery = Query<HalfBlocksStorage::kRegisterTiles>;

// Begins S = Q K^T of one half block, 36 steps of 16 columns.
__device__ inline void multiply_half(const HalfQuery& query, float (&scores)[16],
                                     HalfBlocksStorage& shared, HalfPlaces& place) {
  constexpr int kInRegisters = HalfBlocksStorage::kRegisterTiles;
  std::uint32_t q = ptx::shared_address(shared.q);
  ptx::compute_from_here(q);
  const std::uint32_t rows = ptx::shared_address(shared.rows[place.slot]);
  ptx::mbarrier_wait(ptx::shared_address(&shared.full[place.slot]), place.parity);
  ptx::wgmma_fence();
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const std::uint64_t b = ptx::swizzled_128b(rows + tile * kHalfTileBytes, 16);
#pragma unroll
    for (int step = 0; step < 4; ++step) {
      if (tile < kInRegisters) {
        ptx::wgmma_m64n32k16_bf16(scores, query.words[4 * tile + step], b + 2 * step,
                                  tile + step > 0);
      } else {
        const std::uint64_t a = ptx::swizzled_128b(q + (tile - kInRegisters) * kTileBytes, 16);
        ptx::wgmma_m64_few<32, false, 0>(scores, a + 2 * step, b + 2 * step, 1);
      }
    }
  }
  ptx::wgmma_commit();
  place.advance();
}

__device__ inline void score_half_blocks(const SparseMlaParams& params, HalfBlocksStorage& shared) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4;  // and row + 8
  const int quad = lane % 4;
  const ScoreScale scale(params.scale);
  const std::uint32_t q = ptx::shared_address(shared.q);
  const std::uint32_t p_row = (lane & 7) + ((lane >> 3) & 1) * 8 + 16 * warp;  // stmatrix row
  const std::uint32_t p_base = ptx::shared_address(shared.p);
  HalfPlaces place;
  std::uint32_t p_parity = 0;
  std::uint32_t item_count = 0;
  HalfQuery query;
  Work<Merge::kNone> work(params);
  if (work.valid()) query.begin(params, work.item(params), q, ptx::policy_evict_first());
  for (; work.valid(); ++item_count) {
    const Item item = work.item(params);
    work.next();
    // Q of the next item is on its way from the last product of this one on.
    const auto begin_next_query = [&] {
      if (work.valid()) query.begin(params, work.item(params), q, ptx::policy_evict_first());
    };
    LazySoftmax softmax;
    BlockMask mask(params, item, lane);
    query.finish(params, item);

    // Turns scores into P of half `kHalf` of a block, of whose rows `listed` are there.
    const auto attend = [&]<int kHalf>(std::integral_constant<int, kHalf>, float(&s)[16],
                                       std::uint32_t listed) {
      scale.apply_sign(s);
      if (listed != 0xffffffff) mask_scores<0>(s, listed, quad);
      float factor[2];
      const bool wanted = softmax.raise(s, scale.scale, factor);
      std::uint32_t p[8];
      softmax.probabilities(s, scale.scale, p);
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_free[kHalf]), p_parity ^ 1);
      if (wanted && quad == 0) {
        shared.rescale[kHalf][row] = factor[0];
        shared.rescale[kHalf][row + 8] = factor[1];
      }
      if (lane == 0) shared.rescale_wanted[kHalf][warp] = wanted;
#pragma unroll
      for (int j = 0; j < 4; j += 2)
        ptx::stmatrix_x4(p_base + chunk_offset(p_row, 4 * kHalf + j + (lane >> 4)), p[2 * j],
                         p[2 * j + 1], p[2 * j + 2], p[2 * j + 3]);
      ptx::fence_async_shared();
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.p_full[kHalf]));
    };
    constexpr std::integral_constant<int, 0> kUpper;
    constexpr std::integral_constant<int, 1> kLower;

    if (item.first_block == item.last_block) {
      begin_next_query();
    } else {
      float upper[16], lower[16];  // scores of rows 0-31 and 32-63 of a block
      multiply_half(query, upper, shared, place);
      ptx::wgmma_wait<0>();
      ptx::own_registers(upper);
#pragma unroll 1
      for (int block = item.first_block; block + 1 < item.last_block; ++block) {
        const uint2 listed = mask.take(params, item, block, lane);
        multiply_half(query, lower, shared, place);
        attend(kUpper, upper, listed.x);
        multiply_half(query, upper, shared, place);
        ptx::wgmma_wait<1>();
        ptx::own_registers(lower);
        attend(kLower, lower, listed.y);
        p_parity ^= 1;
        // Across the loop's end ptxas keeps no products in flight whose results are read after it.
        ptx::wgmma_wait<0>();
        ptx::own_registers(upper);
      }
      const uint2 listed = mask.take(params, item, item.last_block - 1, lane);
      multiply_half(query, lower, shared, place);
      attend(kUpper, upper, listed.x);
      ptx::wgmma_wait<0>();
      ptx::own_registers(lower);
      begin_next_query();
      attend(kLower, lower, listed.y);
      p_parity ^= 1;
    }

    softmax.sum_over_lanes();
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_free), (item_count & 1) ^ 1);
    softmax.publish(params, item, shared.inverse_sum);
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.sum_full));
  }
}

__device__ inline void value_half_blocks(const SparseMlaParams& params, HalfBlocksStorage& shared,
                                         int columns) {
  const int warp = threadIdx.x / 32 % 4;
  const int lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4;
  const std::uint64_t p_operand = ptx::swizzled_128b(ptx::shared_address(shared.p), 16);
  constexpr std::uint64_t kTwoHalfTiles = 2 * kHalfTileBytes >> 4;  // in a descriptor's address
  HalfPlaces place;
  std::uint32_t p_parity = 0;
  std::uint32_t item_count = 0;
  for (Work<Merge::kNone> work(params); work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    float o[128];
    if (item.first_block == item.last_block) {
#pragma unroll
      for (float& value : o) value = 0;
    }
    int accumulate = 0;
#pragma unroll 1
    for (int step = 2 * item.first_block; step < 2 * item.last_block; ++step) {
      const int half = step & 1;
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_full[half]), p_parity);
      if (accumulate != 0 && shared.rescale_wanted[half][warp] != 0) {
        const float factor[2] = {shared.rescale[half][row], shared.rescale[half][row + 8]};
#pragma unroll
        for (int i = 0; i < 128; ++i) o[i] *= factor[(i >> 1) & 1];
      }
      const std::uint64_t p = p_operand + 4 * half;  // 32 rows: 64 bytes of a row of P
      const std::uint64_t v = ptx::swizzled_128b(
          ptx::shared_address(shared.rows[place.slot][kHalfTiles * columns]), kHalfTileBytes);
      ptx::own_registers(o);
      ptx::wgmma_fence();
#pragma unroll
      for (int k = 0; k < 2; ++k) {
        ptx::wgmma_m64n128k16_bf16_mn<0>(o, p + 2 * k, v + 128 * k, k > 0 || accumulate != 0);
        ptx::wgmma_m64n128k16_bf16_mn<64>(o, p + 2 * k, v + 128 * k + kTwoHalfTiles,
                                          k > 0 || accumulate != 0);
      }
      ptx::wgmma_commit();
      ptx::wgmma_wait<0>();
      ptx::own_registers(o);
      if (lane == 0) {
        ptx::mbarrier_arrive(ptx::shared_address(&shared.free[place.slot]));
        ptx::mbarrier_arrive(ptx::shared_address(&shared.p_free[half]));
      }
      accumulate = 1;
      p_parity ^= half;
      place.advance();
    }
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_full), item_count & 1);
    store_item(params, item, o, shared.inverse_sum, ptx::shared_address(&shared.sum_free), columns);
  }
}

__device__ inline void gather_half_blocks(const SparseMlaParams& params, HalfBlocksStorage& shared,
                                          int thread) {
  using Rows = ListedRows<kHalfRows>;
  const std::uint64_t keep = ptx::policy_evict_last();
  const int row = thread / 8;
  const int chunk = thread % 8;
  const auto* base = static_cast<const std::byte*>(params.kv.data) + 16 * chunk;
  const std::uint32_t places = ptx::shared_address(shared.rows) + chunk_offset(row, chunk);
  HalfPlaces place;
  for (Work<Merge::kNone> work(params); work.valid(); work.next()) {
    const Item item = work.item(params);
    Rows rows;
    rows.read(params, item, 2 * item.first_block, row);
#pragma unroll 1
    for (int step = 2 * item.first_block; step < 2 * item.last_block; ++step) {
      rows.take(params, item, step, row, base);
      ptx::mbarrier_wait(ptx::shared_address(&shared.free[place.slot]), place.parity ^ 1);
      const std::uint32_t here = ptx::in_a_register(places + place.slot * sizeof(shared.rows[0]));
#pragma unroll
      for (int i = 0; i < Rows::kPasses; ++i) {
#pragma unroll
        for (int tile = 0; tile < kTiles; ++tile)
          ptx::cp_async_16(here + tile * kHalfTileBytes + i * Rows::kRowsAtOnce * 128,
                           rows.source[i] + tile * 128, rows.bytes[i], keep);
      }
      ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.full[place.slot]));
      place.advance();
    }
  }
}

__global__ void __launch_bounds__(kHalfThreads, 1)
    half_blocks_kernel(const __grid_constant__ SparseMlaParams params) {
  extern __shared__ std::byte shared_bytes[];
  auto& shared = *reinterpret_cast<HalfBlocksStorage*>(shared_bytes);
  const int warpgroup = threadIdx.x / kWarpgroup;
  if (threadIdx.x == 0) {
    const auto init = [](std::uint64_t& barrier, int count) {
      ptx::mbarrier_init(ptx::shared_address(&barrier), count);
    };
    for (auto& barrier : shared.full) init(barrier, kWarpgroup);
    for (auto& barrier : shared.free) init(barrier, 8);
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
    ptx::change_registers<kHalfScoreRegisters, kHalfLaunchRegisters>();
    score_half_blocks(params, shared);
  } else if (warpgroup <= 2) {
    ptx::change_registers<kHalfValueRegisters, kHalfLaunchRegisters>();
    value_half_blocks(params, shared, warpgroup - 1);
  } else {
    ptx::change_registers<kHalfGatherRegisters, kHalfLaunchRegisters>();
    gather_half_blocks(params, shared, threadIdx.x - 3 * kWarpgroup);
  }
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
