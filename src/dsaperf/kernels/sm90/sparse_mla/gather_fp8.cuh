#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/gather_bf16.cuh"

#include <cuda_bf16.h>

namespace dsaperf::kernels::sm90::sparse_mla {

// Two e4m3 values, in bytes 0 and 2 of `pair`, to two bf16, times 2^-120: sign and the seven bits
// of exponent and mantissa are put in place, and a subnormal of e4m3 becomes the right subnormal of
// bf16.
__device__ inline std::uint32_t place_e4m3(std::uint32_t pair) {
  return ((pair << 8) & 0x80008000U) | ((pair << 4) & 0x07f007f0U);
}

__device__ inline std::uint32_t multiply_bf16x2(std::uint32_t a, std::uint32_t b) {
  std::uint32_t product;
  asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

// 16 e4m3 values to 16 bf16, times scale (bf16 in both halves). The first product is exact, the
// second rounds once. A NaN among the values (0x7f, 0xff) makes all 16 NaN: its row's score, and so
// every output it takes part in, is NaN in any case.
__device__ inline void convert_16(const uint4& values, std::uint32_t scale, uint4& low,
                                  uint4& high) {
  constexpr std::uint32_t kTwoTo120 = 0x7b807b80;  // bf16, both halves
  const std::uint32_t words[4] = {values.x, values.y, values.z, values.w};
  std::uint32_t nan = 0;
#pragma unroll
  for (const std::uint32_t word : words) nan |= (word & 0x7f7f7f7fU) + 0x01010101U;
  if ((nan & 0x80808080U) != 0) scale = 0x7fff7fff;
  std::uint32_t out[8];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const std::uint32_t first = place_e4m3(__byte_perm(words[i], 0, 0x4140));
    const std::uint32_t second = place_e4m3(__byte_perm(words[i], 0, 0x4342));
    out[2 * i] = multiply_bf16x2(multiply_bf16x2(first, kTwoTo120), scale);
    out[2 * i + 1] = multiply_bf16x2(multiply_bf16x2(second, kTwoTo120), scale);
  }
  low = make_uint4(out[0], out[1], out[2], out[3]);
  high = make_uint4(out[4], out[5], out[6], out[7]);
}

__device__ inline uint4 load_shared_16(std::uint32_t address) {
  uint4 v;
  asm volatile("ld.shared::cta.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address)
               : "memory");
  return v;
}

__device__ inline void store_shared_16(std::uint32_t address, const uint4& v) {
  asm volatile("st.shared::cta.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

// fp8 rows: a block's 64 x 512 bytes are copied, asynchronously, to where the second half of the
// latent columns will stand in bf16, a warp a row, as soon as the slot is free; rope goes to its
// tile. Then four lanes take a row, 16 bytes of every 64 (two chunks of a tile): the first half is
// converted straight into its tiles, the second half is read by all threads before any stores over
// it. The 16-byte chunks of odd rows are exchanged in groups of four, so that a row pair covers all
// banks.
template <>
struct Gather<KvRows::Format::kFp8> {
  static constexpr int kThreads = Roles<KvRows::Format::kFp8>::kProducerThreads;
  static constexpr int kWarpRows = kBlock / (kThreads / 32);
  static constexpr int kRows = kThreads / 4;  // converted at a time
  static constexpr int kPasses = kBlock / kRows;
  static constexpr int kBarrier = 3;

  static __device__ std::uint32_t raw_offset(int row, int chunk) {
    return row * kLatentDim + ((chunk ^ ((row & 1) << 2)) << 4);
  }

  // `index` of lane l is the row number of row l % kWarpRows of this warp's share of the block.
  static __device__ void copy_rows(const SparseMlaParams& params, SharedStorage& shared,
                                   std::uint32_t slot, std::int32_t index, int thread,
                                   std::uint64_t policy) {
    const int lane = thread % 32;
    const int first = thread / 32 * kWarpRows;
    const std::uint32_t raw = ptx::shared_address(shared.k[slot][kHalfTiles]);
    const std::uint32_t rope = ptx::shared_address(shared.k[slot][kRopeTile]);
    const auto source = [&](std::int32_t row, int offset) {
      return row >= 0 ? static_cast<const std::byte*>(params.kv.data) +
                            row * params.kv.row_stride_bytes + offset
                      : static_cast<const std::byte*>(params.q);
    };
#pragma unroll 4
    for (int r = 0; r < kWarpRows; ++r) {
      const std::int32_t row = __shfl_sync(0xffffffff, index, r);
      ptx::cp_async_16(raw + raw_offset(first + r, lane), source(row, 16 * lane), row >= 0 ? 16 : 0,
                       policy);
    }
#pragma unroll
    for (int r = 0; r < kWarpRows; r += 4) {
      const std::int32_t row = __shfl_sync(0xffffffff, index, r + lane / 8);
      ptx::cp_async_16(rope + chunk_offset(first + r + lane / 8, lane % 8),
                       source(row, kKvFp8RopeOffset + 16 * (lane % 8)), row >= 0 ? 16 : 0, policy);
    }
    if (lane < kWarpRows)
      ptx::cp_async_16(ptx::shared_address(&shared.raw_scales[slot][first + lane]),
                       source(index, kKvFp8ScaleOffset), index >= 0 ? 16 : 0, policy);
    ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.raw_full[slot]));
  }

  static __device__ void convert_half(SharedStorage& shared, std::uint32_t slot, int half,
                                      int thread) {
    const int piece = thread % 4;
    const std::uint32_t raw = ptx::shared_address(shared.k[slot][kHalfTiles]);
    const std::uint32_t tiles = ptx::shared_address(shared.k[slot][kHalfTiles * half]);
    uint4 values[kPasses][kHalfTiles];
    float2 scales[kPasses];
#pragma unroll
    for (int r = 0; r < kPasses; ++r) {
      const int row = thread / 4 + kRows * r;
      scales[r] = reinterpret_cast<const float2*>(&shared.raw_scales[slot][row])[half];
#pragma unroll
      for (int i = 0; i < kHalfTiles; ++i)
        values[r][i] = load_shared_16(raw + raw_offset(row, 4 * (kHalfTiles * half + i) + piece));
    }
    if (half == 1) ptx::named_barrier_sync(kBarrier, kThreads);
#pragma unroll
    for (int r = 0; r < kPasses; ++r) {
      const int row = thread / 4 + kRows * r;
#pragma unroll
      for (int i = 0; i < kHalfTiles; ++i) {
        const __nv_bfloat162 scale = __float2bfloat162_rn(i < 2 ? scales[r].x : scales[r].y);
        uint4 low, high;
        convert_16(values[r][i], *reinterpret_cast<const std::uint32_t*>(&scale), low, high);
        store_shared_16(tiles + i * kTileBytes + chunk_offset(row, 2 * piece), low);
        store_shared_16(tiles + i * kTileBytes + chunk_offset(row, 2 * piece + 1), high);
      }
    }
    ptx::fence_async_shared();
    ptx::mbarrier_arrive(ptx::shared_address(&shared.k_full[slot][half]));
  }

  static __device__ void run(const SparseMlaParams& params, SharedStorage& shared, int thread) {
    const std::uint64_t keep = ptx::policy_evict_last();
    const std::uint64_t once = ptx::policy_evict_first();
    const int position = thread / 32 * kWarpRows + thread % kWarpRows;  // of this lane's index
    std::uint32_t step = 0;                                             // blocks converted
    std::uint32_t copied = 0;  // blocks whose copies have been issued: step or step + 1
    std::uint32_t item_count = 0;
    for (Work work(params); work.valid(); work.next(), ++item_count) {
      const Item item = work.item(params);
      const std::uint32_t base = step - item.first_block;  // step of a block of this item
      std::int32_t next = listed_row(params, item, item.first_block * kBlock + position);
      // Copies the next block if its slot is free; waits for the slot if `wait`.
      const auto copy_next = [&](bool wait) {
        const int block = static_cast<int>(copied - base);
        if (block >= item.last_block) return;
        const std::uint32_t slot = copied & 1;
        const std::uint32_t parity = ((copied >> 1) & 1) ^ 1;
        const std::uint32_t first = ptx::shared_address(&shared.k_free[slot][0][1]);
        const std::uint32_t second = ptx::shared_address(&shared.k_free[slot][1][1]);
        if (wait) {
          ptx::mbarrier_wait(first, parity);
          ptx::mbarrier_wait(second, parity);
        } else if (!__all_sync(0xffffffff, ptx::mbarrier_test(first, parity) &&
                                               ptx::mbarrier_test(second, parity))) {
          return;
        }
        copy_rows(params, shared, slot, next, thread, keep);
        next = listed_row(params, item, (block + 1) * kBlock + position);
        ++copied;
      };
      const auto wait_and_load_query = [&] {
        ptx::mbarrier_wait(ptx::shared_address(&shared.q_free), (item_count & 1) ^ 1);
        load_query<kThreads>(params, item, shared, thread, once);
      };
      if (item_count == 0) {  // Q is needed with the first block: both at once
        copy_next(true);
        wait_and_load_query();
      }
      for (int block = item.first_block; block < item.last_block; ++block, ++step) {
        if (copied == step) copy_next(true);
        copy_next(false);
        if (item_count != 0 && block == item.first_block) wait_and_load_query();
        const std::uint32_t slot = step & 1;
        ptx::mbarrier_wait(ptx::shared_address(&shared.raw_full[slot]), (step >> 1) & 1);
        convert_half(shared, slot, 0, thread);
        convert_half(shared, slot, 1, thread);
      }
      if (item_count != 0 && item.first_block == item.last_block) wait_and_load_query();
    }
  }
};

}  // namespace dsaperf::kernels::sm90::sparse_mla
