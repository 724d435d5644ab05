#pragma once

#include "dsaperf/kernels/e4m3_bf16.cuh"
#include "dsaperf/kernels/sm90/ptx/shared_memory.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/gather_bf16.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

// 16 e4m3 values times scale to 16 bf16.
__device__ inline void convert_16(const uint4& values, float scale, uint4& low, uint4& high) {
  const std::uint32_t words[4] = {values.x, values.y, values.z, values.w};
  std::uint32_t out[8];
#pragma unroll
  for (int i = 0; i < 8; ++i) out[i] = scaled_bf16(words[i / 2] >> (16 * (i % 2)), scale);
  low = make_uint4(out[0], out[1], out[2], out[3]);
  high = make_uint4(out[4], out[5], out[6], out[7]);
}

// Copies fp8 rows as they are, asynchronously, 8 lanes to 128 bytes of a row, in step with the
// value warpgroups that free the place: a block's 64 x 512 bytes of latent values go where the
// second half of the latent columns will stand in bf16 (copied by values 1), rope and scales to
// theirs (values 0). Entries of the list are read one block ahead, and their rows called into L2.
// The 64-byte halves of 128 bytes are exchanged in odd rows, so that a row pair covers all banks.
class RawCopy {
 public:
  using Shared = SharedStorage<KvRows::Format::kFp8>;
  static constexpr int kCopyRows = kWarpgroup / 8;  // copied at a time
  static constexpr int kPasses = kBlock / kCopyRows;

  static __device__ std::uint32_t raw_offset(int row, int chunk) {
    return row * kLatentDim + ((chunk ^ ((row & 1) << 2)) << 4);
  }

  __device__ void start(const SparseMlaParams& params, const Item& item, int thread) {
    block_ = item.first_block;
    read_entries(params, item, thread);
  }

  // Of the block that is copied next.
  __device__ void call_into_l2(const SparseMlaParams& params, const Item& item, int thread) const {
    constexpr int kLine = 128;
    if (block_ >= item.last_block || thread % 8 * kLine >= kKvRowBytesFp8) return;
#pragma unroll
    for (const std::int32_t entry : entries_)
      if (names_row(params, entry)) ptx::prefetch_l2(row(params, entry) + thread % 8 * kLine);
  }

  // The next block of the item, if there is one, as soon as its place is free.
  __device__ void copy(const SparseMlaParams& params, const Item& item, Shared& shared, int half,
                       int thread) {
    if (block_ >= item.last_block) return;
    const std::uint32_t slot = place_.slot;
    const int first = thread / 8;
    const int chunk = thread % 8;
    ptx::mbarrier_wait(ptx::shared_address(&shared.right_free[slot][1]), place_.parity ^ 1);
    if (half == 0) ptx::mbarrier_wait(ptx::shared_address(&shared.p_free[slot]), place_.parity ^ 1);
    const std::uint32_t place = ptx::in_a_register(
        half == 0
            ? ptx::shared_address(shared.k_right[slot][kHalfTiles]) + chunk_offset(first, chunk)
            : ptx::shared_address(shared.k_right[slot]) + raw_offset(first, chunk));
#pragma unroll
    for (int i = 0; i < kPasses; ++i) {
      const bool valid = names_row(params, entries_[i]);
      const std::byte* source = row(params, valid ? entries_[i] : 0);
      const std::uint32_t bytes = valid ? 16 : 0;
      if (half == 0) {
        ptx::cp_async_16(place + i * kCopyRows * 128, source + kKvFp8RopeOffset + 16 * chunk,
                         bytes);
        if (chunk == 0)
          ptx::cp_async_16(ptx::shared_address(&shared.raw_scales[slot][first + kCopyRows * i]),
                           source + kKvFp8ScaleOffset, bytes);
      } else {
#pragma unroll
        for (int piece = 0; piece < kLatentDim / 128; ++piece)
          ptx::cp_async_16(place + i * kCopyRows * kLatentDim + 128 * piece,
                           source + 128 * piece + 16 * chunk, bytes);
      }
    }
    ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.raw_full[slot]));
    place_.advance();
    ++block_;
    read_entries(params, item, thread);
  }

 private:
  static const __device__ std::byte* row(const SparseMlaParams& params, std::int32_t entry) {
    return static_cast<const std::byte*>(params.kv.data) + entry * params.kv.row_stride_bytes;
  }

  __device__ void read_entries(const SparseMlaParams& params, const Item& item, int thread) {
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      entries_[i] = listed(params, item, block_ * kBlock + thread / 8 + kCopyRows * i);
  }

  Ring<kSlots> place_;
  int block_ = 0;
  std::int32_t entries_[kPasses];
};

// Converts what RawCopy has brought: four lanes take a row, 16 bytes of every 64 (two chunks of a
// tile). The first half goes straight into its tiles; the second half is read by all threads before
// any stores over it.
template <int kProducers>
struct Gather<KvRows::Format::kFp8, kProducers> {
  using Shared = SharedStorage<KvRows::Format::kFp8>;
  static constexpr int kThreads = Roles<KvRows::Format::kFp8, kProducers>::kProducerThreads;
  static constexpr int kRows = kThreads / 4;  // converted at a time
  static constexpr int kPasses = kBlock / kRows;
  static constexpr int kBarrier = 3;

  struct Piece {
    uint4 values[kHalfTiles];
    float2 scales;  // of the half's two groups of 128 columns
  };

  static __device__ Piece read_piece(const Shared& shared, std::uint32_t slot, int half, int row,
                                     int piece) {
    Piece read;
    read.scales = reinterpret_cast<const float2*>(&shared.raw_scales[slot][row])[half];
    const std::uint32_t raw = ptx::shared_address(shared.k_right[slot]);
#pragma unroll
    for (int i = 0; i < kHalfTiles; ++i)
      read.values[i] =
          ptx::load_shared_16(raw + RawCopy::raw_offset(row, 4 * (kHalfTiles * half + i) + piece));
    return read;
  }

  static __device__ void store_piece(const Piece& read, std::uint32_t tiles, int row, int piece) {
    const std::uint32_t low_at = tiles + chunk_offset(row, 2 * piece);
    const std::uint32_t high_at = tiles + chunk_offset(row, 2 * piece + 1);
#pragma unroll
    for (int i = 0; i < kHalfTiles; ++i) {
      uint4 low, high;
      convert_16(read.values[i], i < 2 ? read.scales.x : read.scales.y, low, high);
      ptx::store_shared_16(low_at + i * kTileBytes, low);
      ptx::store_shared_16(high_at + i * kTileBytes, high);
    }
  }

  static __device__ void convert(Shared& shared, std::uint32_t slot, int thread) {
    const int row = thread / 4;
    const int piece = thread % 4;
    const std::uint32_t left = ptx::shared_address(shared.k_left[slot]);
    const std::uint32_t right = ptx::shared_address(shared.k_right[slot]);
#pragma unroll 1
    for (int r = 0; r < kBlock; r += kRows)
      store_piece(read_piece(shared, slot, 0, row + r, piece), left, row + r, piece);
    ptx::fence_async_shared();
    ptx::mbarrier_arrive(ptx::shared_address(&shared.left_full[slot]));

    Piece read[kPasses];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) read[i] = read_piece(shared, slot, 1, row + kRows * i, piece);
    ptx::named_barrier_sync(kBarrier, kThreads);
#pragma unroll
    for (int i = 0; i < kPasses; ++i) store_piece(read[i], right, row + kRows * i, piece);
    ptx::fence_async_shared();
    ptx::mbarrier_arrive(ptx::shared_address(&shared.right_full[slot]));
  }

  template <Merge kMerge, class Params>
  static __device__ void run(const Params& params, Shared& shared, int thread) {
    Ring<kSlots> place;
    for (Work<kMerge> work(params); work.valid(); work.next()) {
      const Item item = work.item(params);
      for (int block = item.first_block; block < item.last_block; ++block) {
        ptx::mbarrier_wait(ptx::shared_address(&shared.raw_full[place.slot]), place.parity);
        ptx::mbarrier_wait(ptx::shared_address(&shared.left_free[place.slot][1]), place.parity ^ 1);
        convert(shared, place.slot, thread);
        place.advance();
      }
    }
  }
};

}  // namespace dsaperf::kernels::sm90::sparse_mla
