#pragma once

// Sparse attention over a latent cache: softmax(scale * Q K^T) K[:, :512] over listed rows.
//
// One work item is a token and up to 64 of its heads; its list is walked in blocks of 64 rows,
// gathered into shared memory, where a row serves as key (576) and as value (512). A CTA takes
// items one after the other (persistent), or a cluster of CTAs shares the list of one item and
// merges through distributed shared memory. Design and budget: docs/kernels/sparse_mla.md.
//
//   bound by  per block and SM: tensor cores 2176 clk, shared memory 2350 clk, L2 gather of 73.7 KB
//   smem      Q 73.7 KB, two K slots of 73.7 KB, barriers and statistics 10 KB
//   limits    heads 8 ... 128; q, rows and out 16-byte aligned
//
// Roles (warpgroups)
//   0     scores: S = Q K^T (64x64, f32 registers), softmax, P in bf16 over the rope tile; copies
//         the next item's Q once the last scores of this one are there
//   1, 2  values: O[:, 256 * c ...] += P V, 128 f32 registers a thread
//   3     producer: gathers rows (cp.async of bf16, and the left tiles of Q; or cp.async of fp8,
//         conversion, stores)
//
// A row block is buffered in halves, columns 0-255 (left) and 256-575 (right, with rope):
//   left_full, right_full -> scores -> p_full -> values -> left_free, right_free, p_free ->
//   producer
//
//   barrier               arrives                          waits
//   left_full, right_full producer threads                 scores, before columns of that half
//                                                          (bf16: left_full before Q, too)
//   p_full                4 warps of scores                values
//   left_free, right_free 4 warps of values 1 (2), when    producer, before it refills them
//     [row half]          these 32 rows are multiplied     (fp8: only [1], when all are)
//                         (Q: 4 warps of scores)
//   p_free                4 warps of values 1              producer, before it refills rope
//   sum_full, sum_free    4 score warps, 8 value warps     values, scores, once an item
//
// P of a block is announced only after the next block's scores, if its rows are there already: so
// the tensor cores have the values to multiply while the scores' warps are at the softmax.
//
// The running maximum is lazy: accumulators are rescaled only when a score exceeds the reference by
// more than 2^8; P is then at most 256 and sums stay far inside f32. All additions have a fixed
// order, so two runs agree bit for bit.

#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/config.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/gather_bf16.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/gather_fp8.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/partial.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/query.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/softmax.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

#include <cuda_bf16.h>

#include <type_traits>

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kScoreBarrier = 1;
inline constexpr int kValueBarrier = 2;
inline constexpr std::uint64_t kTwoTiles = 2 * kTileBytes >> 4;  // in a descriptor's address

// S = Q K^T of one block, 36 steps of 16 columns. Returns when S is in registers.
template <KvRows::Format kFormat>
__device__ void multiply_query(const QueryWords<Roles<kFormat>::kRegisterTiles>& query,
                               float (&scores)[32], SharedStorage<kFormat>& shared,
                               const Ring<Roles<kFormat>::kLeftSlots>& left,
                               const Ring<kSlots>& right) {
  using R = Roles<kFormat>;
  const std::uint32_t q = ptx::shared_address(shared.q);
  const auto tiles = [&](int first, int last, std::uint32_t k) {
#pragma unroll
    for (int tile = first; tile < last; ++tile) {
      const std::uint64_t b = ptx::swizzled_128b(k + (tile - first) * kTileBytes, 16);
#pragma unroll
      for (int step = 0; step < 4; ++step) {
        if constexpr (R::kRegisterTiles > 0) {
          if (tile < R::kRegisterTiles) {
            ptx::wgmma_m64n64k16_bf16(scores, query.words[4 * tile + step], b + 2 * step,
                                      tile + step > 0);
            continue;
          }
        }
        const std::uint64_t a = ptx::swizzled_128b(q + (tile - R::kRegisterTiles) * kTileBytes, 16);
        ptx::wgmma_m64n64k16_bf16(scores, a + 2 * step, b + 2 * step, tile + step > 0);
      }
    }
  };
  ptx::mbarrier_wait(ptx::shared_address(&shared.left_full[left.slot]), left.parity);
  ptx::wgmma_fence();
  tiles(0, kHalfTiles, ptx::shared_address(shared.k_left[left.slot]));
  ptx::mbarrier_wait(ptx::shared_address(&shared.right_full[right.slot]), right.parity);
  ptx::wgmma_fence();
  tiles(kHalfTiles, kTiles, ptx::shared_address(shared.k_right[right.slot]));
  ptx::wgmma_commit();
  ptx::own_registers(scores);
  ptx::wgmma_wait<0>();
  ptx::own_registers(scores);
}

// P of a block by the reference as it stands, to where the values read it; returns the sums with it
// and whether any score of the warp exceeds the reference by more than is let pass.
__device__ inline bool store_probabilities(const LazySoftmax& softmax, const float (&s)[32],
                                           float scale, std::uint32_t here, float (&sums)[2]) {
  sums[0] = softmax.sum[0];
  sums[1] = softmax.sum[1];
  std::uint32_t largest = 0;  // of P, a pair of bf16
  const auto store = [&](auto pair) {
    constexpr int kPair = decltype(pair)::value;
    std::uint32_t p[4];
    softmax.probabilities<kPair>(s, scale, sums, p);
    // Chunks 2 kPair and the next of a row of 128 bytes, at the place that its swizzle gives them.
    ptx::stmatrix_x4(here ^ (32 * kPair), p[0], p[1], p[2], p[3]);
    largest = ptx::max_bf16x2(ptx::max_bf16x2(largest, ptx::max_bf16x2(p[0], p[1])),
                              ptx::max_bf16x2(p[2], p[3]));
  };
  store(std::integral_constant<int, 0>{});
  store(std::integral_constant<int, 1>{});
  store(std::integral_constant<int, 2>{});
  store(std::integral_constant<int, 3>{});
  const bool exceeds = (largest >> 16) > kLazyLimit || (largest & 0xffff) > kLazyLimit;
  return __any_sync(0xffffffff, exceeds);
}

// P of a block, and by what the accumulators before it shrink, for the values. P takes the place of
// the rope columns, which all four warps have to be done with. After an item's first block the
// reference rises rarely, so P is made by the one there is, and once more if a score turns out to
// exceed it.
template <class Storage>
__device__ void hand_over_probabilities(Storage& shared, std::uint32_t slot, LazySoftmax& softmax,
                                        const float (&s)[32], float scale, bool first) {
  const std::uint32_t warp = threadIdx.x % kWarpgroup / 32;
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t here =
      ptx::shared_address(shared.p(slot)) + chunk_offset(16 * warp + lane % 16, lane / 16);
  ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
  float sums[2];
  const bool exceeded = first || store_probabilities(softmax, s, scale, here, sums);
  if (exceeded) {
    float factor[2];
    softmax.raise(s, scale, factor);
    store_probabilities(softmax, s, scale, here, sums);
    if (lane % 4 == 0) {
      shared.rescale[slot][16 * warp + lane / 4] = factor[0];
      shared.rescale[slot][16 * warp + lane / 4 + 8] = factor[1];
    }
  }
  softmax.sum[0] = sums[0];
  softmax.sum[1] = sums[1];
  if (lane == 0) shared.rescale_wanted[slot][warp] = exceeded;
  ptx::fence_async_shared();
  __syncwarp();
}

template <KvRows::Format kFormat, Merge kMerge, class Params>
__device__ void score_role(const Params& params, SharedStorage<kFormat>& shared) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4;  // and row + 8
  const int quad = lane % 4;
  const ScoreScale scale(params.scale);
  Ring<Roles<kFormat>::kLeftSlots> left;
  Ring<kSlots> right;
  std::uint32_t item_count = 0;
  constexpr int kInRegisters = Roles<kFormat>::kRegisterTiles;
  const auto begin_query = [&](const Item& item) {
    copy_query<kInRegisters, kTiles>(params, item, ptx::shared_address(shared.q));
  };
  // When the products of all warps with Q are done.
  const auto begin_next_query = [&](Work<kMerge> work) {
    if constexpr (kMerge != Merge::kNone) return;  // one item a CTA
    work.next();
    if (!work.valid()) return;
    ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
    begin_query(work.item(params));
  };
  Work<kMerge> work(params);
  if (work.valid()) begin_query(work.item(params));
  for (; work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    LazySoftmax softmax;
    BlockMask mask(params, item, lane);
    QueryWords<kInRegisters> query;
    if constexpr (kInRegisters > 0) {
      ptx::mbarrier_wait(ptx::shared_address(&shared.left_full[left.slot]), left.parity);
      query.take(ptx::shared_address(shared.k_left[left.slot]), threadIdx.x);
      __syncwarp();
      for (auto& barrier : shared.left_free[left.slot])
        ptx::mbarrier_arrive_of_warp(ptx::shared_address(&barrier), lane);
      left.advance();
    }
    ptx::cp_async_wait_all();
    ptx::fence_async_shared();
    ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
    if (item.first_block == item.last_block) begin_next_query(work);
    bool announce_last = false;
    for (int block = item.first_block; block < item.last_block; ++block) {
      const std::uint32_t slot = right.slot;
      const uint2 listed = mask.take(params, item, block, lane);
      float s[32];
      multiply_query<kFormat>(query, s, shared, left, right);
      if (announce_last)
        ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.p_full[slot ^ 1]), lane);
      if (block + 1 == item.last_block) begin_next_query(work);

      scale.apply_sign(s);
      if ((listed.x & listed.y) != 0xffffffff) {  // uniform in the warp
        mask_scores<0>(s, listed.x, quad);
        mask_scores<1>(s, listed.y, quad);
      }
      hand_over_probabilities(shared, slot, softmax, s, scale.scale, block == item.first_block);
      left.advance();
      right.advance();
      // The right half is filled after the left one, so it speaks for both.
      announce_last =
          block + 1 < item.last_block &&
          ptx::mbarrier_test(ptx::shared_address(&shared.right_full[right.slot]), right.parity);
      if (!announce_last)
        ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.p_full[slot]), lane);
    }

    softmax.sum_over_lanes();
    if constexpr (kMerge == Merge::kCluster) {
      const std::uint32_t cluster = ptx::cluster_size();
      // Every CTA of the cluster gets the statistics of all; lane quads share a row and split it.
      const std::uint32_t rank = ptx::cluster_rank();
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const std::uint32_t here = ptx::shared_address(&shared.partial_stats[rank][row + 8 * r]);
        for (std::uint32_t other = quad; other < cluster; other += 4)
          ptx::store_cluster_f32x2(ptx::cluster_address(here, other), softmax.maximum[r],
                                   softmax.sum[r]);
      }
      continue;
    }
    if constexpr (kMerge == Merge::kParts) {
      float2* stats = params.stats + std::int64_t{blockIdx.x} * kHeadTile;
      if (quad < 2 && row + 8 * quad < item.heads)
        stats[row + 8 * quad] = make_float2(quad == 0 ? softmax.maximum[0] : softmax.maximum[1],
                                            quad == 0 ? softmax.sum[0] : softmax.sum[1]);
      continue;
    }
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_free), (item_count & 1) ^ 1);
    softmax.publish(params, item, shared.inverse_sum);
    __syncwarp();
    ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.sum_full), lane);
  }
}

// Rows of 64 contiguous bytes: the four lanes of a quad turn their 4x4 words, so that each holds 16
// bytes of one group of 8 columns, then store them.
__device__ inline void store_rows(const float (&o)[128], int r, float factor, __nv_bfloat16* out,
                                  int quad) {
#pragma unroll
  for (int group = 0; group < 8; ++group) {
    std::uint32_t w[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int d = 4 * (4 * group + i) + 2 * r;
      w[i] = pack_bf16(o[d] * factor, o[d + 1] * factor);
    }
    const bool odd = (quad & 1) != 0;
    std::uint32_t x = __shfl_xor_sync(0xffffffff, odd ? w[0] : w[1], 1);
    std::uint32_t y = __shfl_xor_sync(0xffffffff, odd ? w[2] : w[3], 1);
    if (odd) {
      w[0] = x;
      w[2] = y;
    } else {
      w[1] = x;
      w[3] = y;
    }
    const bool upper = (quad & 2) != 0;
    x = __shfl_xor_sync(0xffffffff, upper ? w[0] : w[2], 2);
    y = __shfl_xor_sync(0xffffffff, upper ? w[1] : w[3], 2);
    if (upper) {
      w[0] = x;
      w[1] = y;
    } else {
      w[2] = x;
      w[3] = y;
    }
    if (out != nullptr)
      *reinterpret_cast<uint4*>(out + 32 * group + 8 * quad) = make_uint4(w[0], w[1], w[2], w[3]);
  }
}

// Columns 256 * half ... of an item, over their sums; which are then free.
__device__ inline void store_item(const SparseMlaParams& params, const Item& item,
                                  const float (&o)[128], const float (&inverse_sum)[kHeadTile],
                                  std::uint32_t sum_free, int half) {
  const int lane = threadIdx.x % 32;
  const int row = 16 * (threadIdx.x / 32 % 4) + lane / 4;
  const float inverse[2] = {inverse_sum[row], inverse_sum[row + 8]};
  __syncwarp();
  ptx::mbarrier_arrive_of_warp(sum_free, lane);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int head = row + 8 * r;
    __nv_bfloat16* out = head < item.heads ? output_row(params, item, head) + 256 * half : nullptr;
    store_rows(o, r, inverse[r], out, lane % 4);
  }
}

// The accumulators shrink when the maximum of one of the warp's heads has risen.
template <class Storage>
__device__ void rescale_values(const Storage& shared, std::uint32_t slot, float (&o)[128]) {
  const int warp = threadIdx.x / 32 % 4;
  const int row = 16 * warp + threadIdx.x % 32 / 4;
  if (shared.rescale_wanted[slot][warp] == 0) return;
  const float factor[2] = {shared.rescale[slot][row], shared.rescale[slot][row + 8]};
#pragma unroll
  for (int i = 0; i < 128; ++i) o[i] *= factor[(i >> 1) & 1];
}

template <KvRows::Format kFormat, Merge kMerge, class Params>
__device__ void value_role(const Params& params, SharedStorage<kFormat>& shared, int half) {
  const int warp = threadIdx.x / 32 % 4;
  const int lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4;
  const int quad = lane % 4;
  Ring<Roles<kFormat>::kLeftSlots> left;
  Ring<kSlots> right;
  std::uint32_t item_count = 0;
  constexpr bool kCopiesRows = kFormat == KvRows::Format::kFp8;
  const int thread = threadIdx.x % kWarpgroup;
  std::conditional_t<kCopiesRows, RawCopy, int> rows{};
  for (Work<kMerge> work(params); work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    if constexpr (Roles<kFormat>::kRegisterTiles > 0) {
      // Q stood here. Without rows nothing else says that it has been taken before this place is
      // written to, by the merge.
      if (kMerge == Merge::kCluster && item.first_block == item.last_block)
        ptx::mbarrier_wait(ptx::shared_address(&shared.left_free[left.slot][0]), left.parity);
      left.advance();
    }
    if constexpr (kCopiesRows) {
      rows.start(params, item, thread);
#pragma unroll 1
      for (int slot = 0; slot < kSlots; ++slot) rows.copy(params, item, shared, half, thread);
    }
    float o[128];
    if (item.first_block == item.last_block) {
#pragma unroll
      for (float& value : o) value = 0;
    }
    for (int block = item.first_block; block < item.last_block; ++block) {
      const std::uint32_t slot = right.slot;
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_full[slot]), right.parity);
      const int fresh = block == item.first_block;
      if (!fresh) rescale_values(shared, slot, o);
      const std::uint64_t p = ptx::swizzled_128b(ptx::shared_address(shared.p(slot)), 16);
      const std::uint64_t v =
          ptx::swizzled_128b(half == 0 ? ptx::shared_address(shared.k_left[left.slot])
                                       : ptx::shared_address(shared.k_right[slot]),
                             kTileBytes);
      const std::uint32_t rows_free = half == 0 ? ptx::shared_address(shared.left_free[left.slot])
                                                : ptx::shared_address(shared.right_free[slot]);
      ptx::own_registers(o);
      ptx::wgmma_fence();
      // 16 tokens a step: 32 bytes of a row of P, 16 rows of the latent tiles.
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        ptx::wgmma_m64n128k16_bf16_mn<0>(o, p + 2 * k, v + 128 * k, k > 0 || fresh == 0);
        ptx::wgmma_m64n128k16_bf16_mn<64>(o, p + 2 * k, v + 128 * k + kTwoTiles,
                                          k > 0 || fresh == 0);
        if (k % 2 == 1) ptx::wgmma_commit();
      }
      if constexpr (kCopiesRows) {
        if (half == 1) rows.call_into_l2(params, item, thread);
      }
      if constexpr (!kCopiesRows) {  // fp8 rows are converted, and wait, for all rows at once
        ptx::wgmma_wait<1>();
        ptx::mbarrier_arrive_of_warp(rows_free, lane);
      }
      ptx::wgmma_wait<0>();
      ptx::own_registers(o);
      ptx::mbarrier_arrive_of_warp(rows_free + 8, lane);
      if (half == 0) ptx::mbarrier_arrive_of_warp(ptx::shared_address(&shared.p_free[slot]), lane);
      left.advance();
      right.advance();
      if constexpr (kCopiesRows) rows.copy(params, item, shared, half, thread);
    }
    if constexpr (kMerge == Merge::kParts) {
      store_partial(params, item.heads, o, half);
      continue;
    }
    if constexpr (kMerge == Merge::kCluster) {
      // All K rows are multiplied: their place takes the partial accumulators.
      ptx::named_barrier_sync(kValueBarrier, 2 * kWarpgroup);
      float* partial = shared.partial();
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        if (row + 8 * r >= item.heads) continue;
        float* here = partial + (row + 8 * r) * kPartialStride + 256 * half + 2 * quad;
#pragma unroll
        for (int j = 0; j < 32; ++j)
          *reinterpret_cast<float2*>(here + 8 * j) =
              make_float2(o[4 * j + 2 * r], o[4 * j + 2 * r + 1]);
      }
      continue;
    }
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_full), item_count & 1);
    store_item(params, item, o, shared.inverse_sum, ptx::shared_address(&shared.sum_free), half);
  }
}

// Each CTA of the cluster merges an equal share of the outputs, four columns a thread at a time, in
// the order of the CTAs; the remote loads of eight CTAs are in flight together.
template <int kThreads, KvRows::Format kFormat>
__device__ void merge_cluster(const SparseMlaParams& params, SharedStorage<kFormat>& shared,
                              int thread) {
  constexpr int kQuads = kLatentDim / 4;
  constexpr int kAtOnce = 8;
  const Item item = Work<Merge::kCluster>(params).item(params);
  const int cluster = static_cast<int>(ptx::cluster_size());
  const int share = (item.heads * kQuads + cluster - 1) / cluster;
  const int first = static_cast<int>(ptx::cluster_rank()) * share;
  const int last = min(first + share, item.heads * kQuads);
  const std::uint32_t partial = ptx::shared_address(shared.partial());
#pragma unroll 1
  for (int i = first + thread; i < last; i += kThreads) {
    const int head = i / kQuads;
    const int column = i % kQuads * 4;
    const std::uint32_t here = partial + (head * kPartialStride + column) * 4;
    float largest = kMaximumFloor;
#pragma unroll 4
    for (int c = 0; c < cluster; ++c) largest = fmaxf(largest, shared.partial_stats[c][head].x);
    float total = 0;
    float4 merged = make_float4(0, 0, 0, 0);
#pragma unroll 1
    for (int base = 0; base < cluster; base += kAtOnce) {
      float4 part[kAtOnce];
#pragma unroll
      for (int c = 0; c < kAtOnce; ++c)
        if (base + c < cluster)
          part[c] = ptx::load_cluster_f32x4(ptx::cluster_address(here, base + c));
#pragma unroll
      for (int c = 0; c < kAtOnce; ++c) {
        if (base + c >= cluster) continue;
        const float2 stats = shared.partial_stats[base + c][head];
        const float weight = ptx::exp2_approximate(stats.x - largest);
        total += stats.y * weight;
        merged.x += part[c].x * weight;
        merged.y += part[c].y * weight;
        merged.z += part[c].z * weight;
        merged.w += part[c].w * weight;
      }
    }
    const float inverse = total == 0 ? 0 : 1 / total;
    *reinterpret_cast<uint2*>(output_row(params, item, head) + column) =
        make_uint2(pack_bf16(merged.x * inverse, merged.y * inverse),
                   pack_bf16(merged.z * inverse, merged.w * inverse));
    if (column == 0) write_lse(params, item, head, largest, total);
  }
}

template <KvRows::Format kFormat, Merge kMerge, int kProducers, class Params>
__device__ void run_cta(const Params& params) {
  using R = Roles<kFormat, kProducers>;
  extern __shared__ std::byte shared_bytes[];
  auto& shared = *reinterpret_cast<SharedStorage<kFormat>*>(shared_bytes);
  const int warpgroup = threadIdx.x / kWarpgroup;

  if (threadIdx.x == 0) {
    const auto init = [](std::uint64_t& barrier, int count) {
      ptx::mbarrier_init(ptx::shared_address(&barrier), count);
    };
    constexpr int kFourWarps = 4 * ptx::kArrivalsOfWarp;
    init(shared.sum_full, kFourWarps);
    init(shared.sum_free, 2 * kFourWarps);
    for (int slot = 0; slot < kSlots; ++slot) {
      init(shared.raw_full[slot], 2 * kWarpgroup);
      init(shared.right_full[slot], R::kProducerThreads);
      init(shared.p_full[slot], kFourWarps);
      init(shared.p_free[slot], kFourWarps);
      for (auto& barrier : shared.right_free[slot]) init(barrier, kFourWarps);
    }
    for (int slot = 0; slot < R::kLeftSlots; ++slot) {
      init(shared.left_full[slot], R::kProducerThreads);
      for (auto& barrier : shared.left_free[slot]) init(barrier, kFourWarps);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  if constexpr (kMerge == Merge::kCluster)
    ptx::cluster_sync();  // all CTAs run before one writes to another

  if (warpgroup == 0) {
    ptx::change_registers<R::kScoreRegisters, R::kLaunchRegisters>();
    score_role<kFormat, kMerge>(params, shared);
    if constexpr (kMerge == Merge::kCluster) {
      ptx::cluster_sync();
      ptx::cluster_sync();
    }
  } else if (warpgroup <= 2) {
    ptx::change_registers<R::kValueRegisters, R::kLaunchRegisters>();
    value_role<kFormat, kMerge>(params, shared, warpgroup - 1);
    if constexpr (kMerge == Merge::kCluster) {
      ptx::cluster_sync();
      merge_cluster<2 * kWarpgroup>(params, shared, threadIdx.x - kWarpgroup);
      ptx::cluster_sync();  // nobody leaves while others read its shared memory
    }
  } else {
    ptx::change_registers<R::kProducerRegisters, R::kLaunchRegisters>();
    Gather<kFormat, kProducers>::template run<kMerge>(params, shared, threadIdx.x - 3 * kWarpgroup);
    if constexpr (kMerge == Merge::kCluster) {
      ptx::cluster_sync();
      ptx::cluster_sync();
    }
  }
}

template <KvRows::Format kFormat, Merge kMerge, int kProducers>
__global__ void __launch_bounds__(Roles<kFormat, kProducers>::kThreads, 1)
    sparse_mla_kernel(const __grid_constant__ SparseMlaParams params) {
  run_cta<kFormat, kMerge, kProducers>(params);
}

template <KvRows::Format kFormat, int kProducers>
__global__ void __launch_bounds__(Roles<kFormat, kProducers>::kThreads, 1)
    sparse_mla_parts_kernel(const __grid_constant__ PartsParams params) {
  run_cta<kFormat, Merge::kParts, kProducers>(params);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
