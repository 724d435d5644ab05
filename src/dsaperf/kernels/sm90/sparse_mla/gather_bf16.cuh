#pragma once

#include "dsaperf/kernels/sm90/ptx/copy.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/query.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template <KvRows::Format kFormat, int kProducers>
struct Gather;

// The rows of a block of a list that one thread of a gathering warpgroup copies, 16 bytes
// at a time, 8 lanes to 128 bytes of a row. The list is read one block ahead.
struct ListedRows {
  static constexpr int kRowsAtOnce = kWarpgroup / 8;
  static constexpr int kPasses = kBlock / kRowsAtOnce;
  std::int32_t next[kPasses];
  const std::byte* source[kPasses];
  std::uint32_t bytes[kPasses];  // 0: no row

  __device__ void read(const SparseMlaParams& params, const Item& item, int block, int row) {
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      next[i] = listed(params, item, block * kBlock + row + kRowsAtOnce * i);
  }

  // base: the thread's 16 bytes of row 0.
  __device__ void take(const SparseMlaParams& params, const Item& item, int block, int row,
                       const std::byte* base) {
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const bool valid = names_row(params, next[i]);
      bytes[i] = valid ? 16 : 0;
      source[i] = base + (valid ? next[i] : 0) * params.kv.row_stride_bytes;
    }
    read(params, item, block + 1, row);
  }
};

// bf16 rows: copied as they are, 8 lanes to 128 bytes of a row, four rows a thread. Left halves run
// up to three blocks ahead of the values, right halves two. The left half of an item's Q goes ahead
// of its rows, in a place of theirs, from which the score warpgroup takes it to registers.
template <>
struct Gather<KvRows::Format::kBf16, 1> {
  using R = Roles<KvRows::Format::kBf16>;
  // Two passes of each row half.
  static_assert(R::kProducerThreads == kWarpgroup && ListedRows::kPasses == 4);

  template <Merge kMerge, class Params>
  static __device__ void run(const Params& params, SharedStorage<KvRows::Format::kBf16>& shared,
                             int thread) {
    const std::uint64_t keep = ptx::policy_evict_last();
    const int row = thread / 8;
    const int chunk = thread % 8;
    const auto* base = static_cast<const std::byte*>(params.kv.data) + 16 * chunk;
    Ring<R::kLeftSlots> left;
    Ring<kSlots> right;
    for (Work<kMerge> work(params); work.valid(); work.next()) {
      const Item item = work.item(params);
      ListedRows rows;
      rows.read(params, item, item.first_block, row);
      for (auto& barrier : shared.left_free[left.slot])
        ptx::mbarrier_wait(ptx::shared_address(&barrier), left.parity ^ 1);
      copy_query<0, kHalfTiles, kHalfTiles>(params, item,
                                            ptx::shared_address(shared.k_left[left.slot]));
      ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.left_full[left.slot]));
      left.advance();
      for (int block = item.first_block; block < item.last_block; ++block) {
        rows.take(params, item, block, row, base);
        const auto copy = [&](std::uint32_t tiles, int pass, int first, int last) {
#pragma unroll
          for (int tile = first; tile < last; ++tile)
            ptx::cp_async_16(
                tiles + (tile - first) * kTileBytes + pass * ListedRows::kRowsAtOnce * 128,
                rows.source[pass] + tile * 128, rows.bytes[pass], keep);
        };
        const std::uint32_t here = chunk_offset(row, chunk);
        const std::uint32_t left_tiles =
            ptx::in_a_register(ptx::shared_address(shared.k_left[left.slot]) + here);
        const std::uint32_t right_tiles =
            ptx::in_a_register(ptx::shared_address(shared.k_right[right.slot]) + here);
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          ptx::mbarrier_wait(ptx::shared_address(&shared.left_free[left.slot][r]), left.parity ^ 1);
          copy(left_tiles, 2 * r, 0, kHalfTiles);
          copy(left_tiles, 2 * r + 1, 0, kHalfTiles);
        }
        ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.left_full[left.slot]));
#pragma unroll
        for (int r = 0; r < 2; ++r) {
          ptx::mbarrier_wait(ptx::shared_address(&shared.right_free[right.slot][r]),
                             right.parity ^ 1);
          copy(right_tiles, 2 * r, kHalfTiles, kRopeTile);
          copy(right_tiles, 2 * r + 1, kHalfTiles, kRopeTile);
        }
        // P, in the rope tile, has been read by both value warpgroups.
        ptx::mbarrier_wait(ptx::shared_address(&shared.p_free[right.slot]), right.parity ^ 1);
#pragma unroll
        for (int i = 0; i < ListedRows::kPasses; ++i)
          copy(right_tiles + kHalfTiles * kTileBytes, i, kRopeTile, kTiles);
        ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.right_full[right.slot]));
        left.advance();
        right.advance();
      }
    }
  }
};
}  // namespace dsaperf::kernels::sm90::sparse_mla
