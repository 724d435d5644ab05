#pragma once

#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template <KvRows::Format kFormat>
struct Gather;

// Byte offset of 16-byte chunk `chunk` of row `row` in a tile.
__device__ inline std::uint32_t chunk_offset(std::uint32_t row, std::uint32_t chunk) {
  return row * 128 + ((chunk ^ (row & 7)) << 4);
}

// The item's query rows, zeros for heads that it does not have. 8 lanes copy 128 bytes of a row.
template <int kThreads>
__device__ void load_query(const SparseMlaParams& params, const Item& item, SharedStorage& shared,
                           int thread, std::uint64_t policy) {
  constexpr int kRowsAtOnce = kThreads / 8;
  const int chunk = thread % 8;
#pragma unroll
  for (int r = 0; r < kHeadTile / kRowsAtOnce; ++r) {
    const int row = thread / 8 + r * kRowsAtOnce;
    const bool valid = row < item.heads;
    const auto* source = static_cast<const __nv_bfloat16*>(params.q) +
                         item.token * params.q_token_stride +
                         (item.head0 + (valid ? row : 0)) * params.q_head_stride + 8 * chunk;
    const std::uint32_t destination =
        ptx::in_a_register(ptx::shared_address(shared.q) + chunk_offset(row, chunk));
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile)
      ptx::cp_async_16(destination + tile * kTileBytes, source + 64 * tile, valid ? 16 : 0, policy);
  }
  ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.q_full));
}

// bf16 rows: copied as they are, 8 lanes to 128 bytes of a row, two rows a thread. Column halves
// are filled in the order in which the scores read them.
template <>
struct Gather<KvRows::Format::kBf16> {
  static constexpr int kThreads = Roles<KvRows::Format::kBf16>::kProducerThreads;
  static constexpr int kRows = kBlock / 2;
  static_assert(kThreads / 8 == kRows);

  static __device__ void run(const SparseMlaParams& params, SharedStorage& shared, int thread) {
    const std::uint64_t keep = ptx::policy_evict_last();
    const std::uint64_t once = ptx::policy_evict_first();
    const int row = thread / 8;
    const int chunk = thread % 8;
    const auto* base = static_cast<const std::byte*>(params.kv.data) + 16 * chunk;
    std::uint32_t step = 0;
    std::uint32_t item_count = 0;
    for (Work work(params); work.valid(); work.next(), ++item_count) {
      const Item item = work.item(params);
      const auto wait_and_load_query = [&] {
        ptx::mbarrier_wait(ptx::shared_address(&shared.q_free), (item_count & 1) ^ 1);
        load_query<kThreads>(params, item, shared, thread, once);
      };
      std::int32_t next[2];
      const auto read_indices = [&](int block) {
#pragma unroll
        for (int r = 0; r < 2; ++r)
          next[r] = listed_row(params, item, block * kBlock + row + kRows * r);
      };
      read_indices(item.first_block);
      // Later items: the first block goes ahead of Q, whose place the last product still reads.
      const bool query_first = item_count == 0 || item.first_block == item.last_block;
      if (query_first) wait_and_load_query();
      for (int block = item.first_block; block < item.last_block; ++block, ++step) {
        const std::uint32_t slot = step & 1;
        const std::uint32_t parity = ((step >> 1) & 1) ^ 1;
        const std::byte* source[2];
        std::uint32_t bytes[2];
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          bytes[r] = next[r] >= 0 ? 16 : 0;
          source[r] = next[r] >= 0 ? base + next[r] * params.kv.row_stride_bytes
                                   : static_cast<const std::byte*>(params.q);
        }
        read_indices(block + 1);
        const std::uint32_t destination =
            ptx::in_a_register(ptx::shared_address(shared.k[slot]) + chunk_offset(row, chunk));
        const auto copy = [&](int r, int first, int last) {
#pragma unroll
          for (int tile = first; tile < last; ++tile)
            ptx::cp_async_16(destination + tile * kTileBytes + r * kRows * 128,
                             source[r] + tile * 128, bytes[r], keep);
        };
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
          for (int r = 0; r < 2; ++r) {
            ptx::mbarrier_wait(ptx::shared_address(&shared.k_free[slot][half][r]), parity);
            copy(r, kHalfTiles * half, kHalfTiles * (half + 1));
          }
          if (half == 1) {  // P, in the rope tile, is free when both halves are
            copy(0, kRopeTile, kTiles);
            copy(1, kRopeTile, kTiles);
          }
          ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.k_full[slot][half]));
        }
        if (!query_first && block == item.first_block) wait_and_load_query();
      }
    }
  }
};

}  // namespace dsaperf::kernels::sm90::sparse_mla
