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
//   0         scores: S = Q K^T (64x64, f32 registers), softmax, P in bf16 over the slot's rope
//   tile 1, 2      values: O[:, 256 * c ...] += P V, 128 f32 registers a thread 3 (4)     producer:
//   gathers rows (cp.async of bf16; or fp8 loads, conversion, stores), and Q
//
// Pipeline of slot s:   k_full[s][0..1] -> scores -> p_full[s] -> values -> k_free[s][c][r] ->
// producer
//
//   barrier        arrives                            waits
//   k_full[s][c]   producer threads                   scores, before columns of half c
//   p_full[s]      4 warps of scores                  values
//   k_free[s][c][r] 4 warps of values c, when rows     producer, before it refills them
//                  32r ... of half c are multiplied
//   q_full/q_free  producer threads / 4 score warps   scores / producer, once an item
//   sum_full/free  4 score warps / 8 value warps      values / scores, once an item
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
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

#include <cuda_bf16.h>

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr float kMaximumFloor = -1e30F;  // finite: -inf - -inf would be NaN
inline constexpr float kLazyExponent = 8;
inline constexpr int kScoreBarrier = 1;
inline constexpr int kValueBarrier = 2;
inline constexpr std::uint64_t kTwoTiles = 2 * kTileBytes >> 4;  // in a descriptor's address

__device__ inline std::uint32_t pack_bf16(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

// S = Q K^T of one block: 36 steps of 16 columns. Returns when S is in registers.
__device__ inline void multiply_scores(float (&scores)[32], std::uint32_t q, std::uint32_t k,
                                       std::uint32_t k_full, std::uint32_t parity) {
  constexpr int kHalves[3] = {0, kHalfTiles, kTiles};
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    ptx::mbarrier_wait(k_full + 8 * half, parity);
    ptx::fence_async_shared();
    ptx::wgmma_fence();
#pragma unroll
    for (int tile = kHalves[half]; tile < kHalves[half + 1]; ++tile) {
      const std::uint64_t a = ptx::swizzled_128b(q + tile * kTileBytes, 16);
      const std::uint64_t b = ptx::swizzled_128b(k + tile * kTileBytes, 16);
#pragma unroll
      for (int step = 0; step < 4; ++step)
        ptx::wgmma_m64n64k16_bf16(scores, a + 2 * step, b + 2 * step, tile + step > 0);
    }
  }
  ptx::wgmma_commit();
  ptx::own_registers(scores);
  ptx::wgmma_wait<0>();
  ptx::own_registers(scores);
}

template <KvRows::Format kFormat>
__device__ void score_role(const SparseMlaParams& params, SharedStorage& shared) {
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4;  // and row + 8
  const int quad = lane % 4;
  // Scores in powers of two. A scale that is not positive goes into the scores themselves, so that
  // their order and the -inf of unlisted tokens survive the multiplication.
  const float sign = params.scale > 0 ? 1.0F : params.scale < 0 ? -1.0F : 0.0F;
  const float scale = sign == 0 ? 1.0F : fabsf(params.scale) * 1.4426950408889634F;
  const std::uint32_t q = ptx::shared_address(shared.q);
  const std::uint32_t p_row = (lane & 7) + ((lane >> 3) & 1) * 8 + 16 * warp;  // stmatrix row
  std::uint32_t step = 0;
  std::uint32_t item_count = 0;
  for (Work work(params); work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    float maximum[2] = {kMaximumFloor, kMaximumFloor};
    float sum[2] = {0, 0};
    ptx::mbarrier_wait(ptx::shared_address(&shared.q_full), item_count & 1);
    BlockMask mask(params, item, lane);
    for (int block = item.first_block; block < item.last_block; ++block, ++step) {
      const std::uint32_t slot = step & 1;
      const std::uint32_t parity = (step >> 1) & 1;
      const std::uint32_t k = ptx::shared_address(shared.k[slot]);
      const uint2 listed = mask.take(params, item, block, lane);
      float s[32];
      multiply_scores(s, q, k, ptx::shared_address(shared.k_full[slot]), parity);
      if (block + 1 == item.last_block && lane == 0)
        ptx::mbarrier_arrive(ptx::shared_address(&shared.q_free));

      if (sign != 1.0F) {
#pragma unroll
        for (float& score : s) score *= sign;
      }
      if ((listed.x & listed.y) != 0xffffffff) {  // uniform in the warp
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          const std::uint32_t bits = (j < 4 ? listed.x : listed.y) >> (8 * (j & 3) + 2 * quad);
          if ((bits & 1) == 0) s[4 * j] = s[4 * j + 2] = -INFINITY;
          if ((bits & 2) == 0) s[4 * j + 1] = s[4 * j + 3] = -INFINITY;
        }
      }
      bool wanted = false;
      float factor[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        float largest = -INFINITY;
#pragma unroll
        for (int j = 0; j < 8; ++j)
          largest = fmaxf(largest, fmaxf(s[4 * j + 2 * r], s[4 * j + 2 * r + 1]));
        largest *= scale;
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 1));
        largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, 2));
        const bool raise = largest > maximum[r] + kLazyExponent;
        const float next = raise ? largest : maximum[r];
        factor[r] = ptx::exp2_approximate(maximum[r] - next);
        maximum[r] = next;
        sum[r] *= factor[r];
        wanted |= raise;
      }
      wanted = __any_sync(0xffffffff, wanted);
      if (wanted && quad == 0) {
        shared.rescale[slot][row] = factor[0];
        shared.rescale[slot][row + 8] = factor[1];
      }
      if (lane == 0) shared.rescale_wanted[slot][warp] = wanted;

      std::uint32_t p[16];
#pragma unroll
      for (int j = 0; j < 8; ++j) {
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          float a = s[4 * j + 2 * r];
          float b = s[4 * j + 2 * r + 1];
          a = ptx::exp2_approximate(fmaf(a, scale, -maximum[r]));
          b = ptx::exp2_approximate(fmaf(b, scale, -maximum[r]));
          sum[r] += a + b;
          p[2 * j + r] = pack_bf16(a, b);
        }
      }
      // P takes the place of the rope columns, which all four warps have to be done with.
      ptx::named_barrier_sync(kScoreBarrier, kWarpgroup);
      const std::uint32_t p_base = k + kRopeTile * kTileBytes + p_row * 128;
#pragma unroll
      for (int j = 0; j < 8; j += 2) {
        const std::uint32_t chunk = (j + (lane >> 4)) ^ (p_row & 7);
        ptx::stmatrix_x4(p_base + chunk * 16, p[2 * j], p[2 * j + 1], p[2 * j + 2], p[2 * j + 3]);
      }
      ptx::fence_async_shared();
      __syncwarp();
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.p_full[slot]));
    }
    if (item.first_block == item.last_block && lane == 0)
      ptx::mbarrier_arrive(ptx::shared_address(&shared.q_free));

#pragma unroll
    for (int r = 0; r < 2; ++r) {
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 1);
      sum[r] += __shfl_xor_sync(0xffffffff, sum[r], 2);
    }
    const std::uint32_t cluster = ptx::cluster_size();
    if (cluster > 1) {
      // Every CTA of the cluster gets the statistics of all; lane quads share a row and split it.
      const std::uint32_t rank = ptx::cluster_rank();
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        const std::uint32_t here = ptx::shared_address(&shared.partial_stats[rank][row + 8 * r]);
        for (std::uint32_t other = quad; other < cluster; other += 4)
          ptx::store_cluster_f32x2(ptx::cluster_address(here, other), maximum[r], sum[r]);
      }
      continue;
    }
    ptx::mbarrier_wait(ptx::shared_address(&shared.sum_free), (item_count & 1) ^ 1);
    if (quad < 2) {
      const float total = quad == 0 ? sum[0] : sum[1];
      const float largest = quad == 0 ? maximum[0] : maximum[1];
      const int head = row + 8 * quad;
      shared.inverse_sum[head] = total == 0 ? 0 : 1 / total;
      write_lse(params, item, head, largest, total);
    }
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.sum_full));
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

template <KvRows::Format kFormat>
__device__ void value_role(const SparseMlaParams& params, SharedStorage& shared, int half) {
  const int warp = threadIdx.x / 32 % 4;
  const int lane = threadIdx.x % 32;
  const int row = 16 * warp + lane / 4;
  const int quad = lane % 4;
  const std::uint32_t cluster = ptx::cluster_size();
  std::uint32_t step = 0;
  std::uint32_t item_count = 0;
  for (Work work(params); work.valid(); work.next(), ++item_count) {
    const Item item = work.item(params);
    float o[128];
    if (item.first_block == item.last_block) {
#pragma unroll
      for (float& value : o) value = 0;
    }
    for (int block = item.first_block; block < item.last_block; ++block, ++step) {
      const std::uint32_t slot = step & 1;
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_full[slot]), (step >> 1) & 1);
      ptx::fence_async_shared();
      const int fresh = block == item.first_block;
      if (!fresh && shared.rescale_wanted[slot][warp] != 0) {
        const float factor[2] = {shared.rescale[slot][row], shared.rescale[slot][row + 8]};
#pragma unroll
        for (int i = 0; i < 128; ++i) o[i] *= factor[(i >> 1) & 1];
      }
      const std::uint64_t p =
          ptx::swizzled_128b(ptx::shared_address(shared.k[slot][kRopeTile]), 16);
      const std::uint64_t v =
          ptx::swizzled_128b(ptx::shared_address(shared.k[slot][kHalfTiles * half]), kTileBytes);
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
      ptx::wgmma_wait<1>();
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.k_free[slot][half][0]));
      ptx::wgmma_wait<0>();
      ptx::own_registers(o);
      if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.k_free[slot][half][1]));
    }
    if (cluster > 1) {
      // All K rows are multiplied: their place takes the partial accumulators.
      ptx::named_barrier_sync(kValueBarrier, 2 * kWarpgroup);
      auto* partial = reinterpret_cast<float*>(shared.k);
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
    const float inverse[2] = {shared.inverse_sum[row], shared.inverse_sum[row + 8]};
    __syncwarp();
    if (lane == 0) ptx::mbarrier_arrive(ptx::shared_address(&shared.sum_free));
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int head = row + 8 * r;
      __nv_bfloat16* out =
          head < item.heads ? output_row(params, item, head) + 256 * half : nullptr;
      store_rows(o, r, inverse[r], out, quad);
    }
  }
}

// Each CTA of the cluster merges an equal share of the outputs, four columns a thread at a time, in
// the order of the CTAs. All remote loads of a share are in flight together.
template <int kCluster, int kThreads>
__device__ void merge_share(const SparseMlaParams& params, SharedStorage& shared, int thread) {
  const Item item = Work(params).item(params);
  const int share = item.heads * (kLatentDim / 4) / kCluster;
  const int first = static_cast<int>(ptx::cluster_rank()) * share;
  const std::uint32_t partial = ptx::shared_address(shared.k);
  for (int i = first + thread; i < first + share; i += kThreads) {
    const int head = i / (kLatentDim / 4);
    const int column = i % (kLatentDim / 4) * 4;
    const std::uint32_t here = partial + (head * kPartialStride + column) * 4;
    float4 part[kCluster];
#pragma unroll
    for (int c = 0; c < kCluster; ++c)
      part[c] = ptx::load_cluster_f32x4(ptx::cluster_address(here, c));
    float largest = kMaximumFloor;
#pragma unroll
    for (int c = 0; c < kCluster; ++c) largest = fmaxf(largest, shared.partial_stats[c][head].x);
    float total = 0;
    float4 merged = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int c = 0; c < kCluster; ++c) {
      const float2 stats = shared.partial_stats[c][head];
      const float weight = ptx::exp2_approximate(stats.x - largest);
      total += stats.y * weight;
      merged.x += part[c].x * weight;
      merged.y += part[c].y * weight;
      merged.z += part[c].z * weight;
      merged.w += part[c].w * weight;
    }
    const float inverse = total == 0 ? 0 : 1 / total;
    *reinterpret_cast<uint2*>(output_row(params, item, head) + column) =
        make_uint2(pack_bf16(merged.x * inverse, merged.y * inverse),
                   pack_bf16(merged.z * inverse, merged.w * inverse));
    if (column == 0) write_lse(params, item, head, largest, total);
  }
}

template <int kThreads>
__device__ void merge_cluster(const SparseMlaParams& params, SharedStorage& shared, int thread) {
  switch (ptx::cluster_size()) {
    case 2:
      return merge_share<2, kThreads>(params, shared, thread);
    case 4:
      return merge_share<4, kThreads>(params, shared, thread);
    case 8:
      return merge_share<8, kThreads>(params, shared, thread);
    default:
      return merge_share<16, kThreads>(params, shared, thread);
  }
}

template <KvRows::Format kFormat>
__global__ void __launch_bounds__(Roles<kFormat>::kThreads, 1)
    sparse_mla_kernel(const __grid_constant__ SparseMlaParams params) {
  using R = Roles<kFormat>;
  extern __shared__ std::byte shared_bytes[];
  SharedStorage& shared = *reinterpret_cast<SharedStorage*>(shared_bytes);
  const int warpgroup = threadIdx.x / kWarpgroup;

  if (threadIdx.x == 0) {
    const auto init = [](std::uint64_t& barrier, int count) {
      ptx::mbarrier_init(ptx::shared_address(&barrier), count);
    };
    init(shared.q_full, R::kProducerThreads);
    init(shared.q_free, 4);
    init(shared.sum_full, 4);
    init(shared.sum_free, 8);
    for (int slot = 0; slot < kSlots; ++slot) {
      init(shared.p_full[slot], 4);
      init(shared.raw_full[slot], R::kProducerThreads);
      for (auto& barrier : shared.k_full[slot]) init(barrier, R::kProducerThreads);
      for (auto& by_half : shared.k_free[slot])
        for (auto& barrier : by_half) init(barrier, 4);
    }
    ptx::fence_mbarrier_init();
  }
  __syncthreads();
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();
  const bool clustered = ptx::cluster_size() > 1;
  if (clustered) ptx::cluster_sync();  // all CTAs run before one writes to another

  if (warpgroup == 0) {
    ptx::change_registers<R::kScoreRegisters, R::kLaunchRegisters>();
    score_role<kFormat>(params, shared);
    if (clustered) {
      ptx::cluster_sync();
      ptx::cluster_sync();
    }
  } else if (warpgroup <= 2) {
    ptx::change_registers<R::kValueRegisters, R::kLaunchRegisters>();
    value_role<kFormat>(params, shared, warpgroup - 1);
    if (clustered) {
      ptx::cluster_sync();
      merge_cluster<2 * kWarpgroup>(params, shared, threadIdx.x - kWarpgroup);
      ptx::cluster_sync();  // nobody leaves while others read its shared memory
    }
  } else {
    ptx::change_registers<R::kProducerRegisters, R::kLaunchRegisters>();
    Gather<kFormat>::run(params, shared, threadIdx.x - 3 * kWarpgroup);
    if (clustered) {
      ptx::cluster_sync();
      ptx::cluster_sync();
    }
  }
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
