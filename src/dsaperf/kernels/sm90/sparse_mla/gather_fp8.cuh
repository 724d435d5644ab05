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
// theirs (values 0). A warp has 16 rows, whose addresses its first lanes make and hand round.
// Entries of the list are read one block ahead, and their rows called into L2. The 64-byte halves
// of 128 bytes are exchanged in odd rows, so that a row pair covers all banks.
class RawCopy {
 public:
  using Shared = SharedStorage<KvRows::Format::kFp8>;
  static constexpr int kRowsOfWarp = kBlock / 4;
  static constexpr int kRowsAtOnce = 4;  // of a warp

  static __device__ std::uint32_t raw_offset(int row, int chunk) {
    return row * kLatentDim + ((chunk ^ ((row & 1) << 2)) << 4);
  }

  __device__ void start(const SparseMlaParams& params, const Item& item, int thread) {
    block_ = item.first_block;
    read_entry(params, item, thread);
  }

  // Of the block that is copied next: the two threads of a row take half of its lines each.
  __device__ void call_into_l2(const SparseMlaParams& params, const Item& item, int thread) const {
    constexpr int kLine = 128;
    constexpr int kLines = (kKvRowBytesFp8 + kLine - 1) / kLine / 2;
    if (block_ >= item.last_block || !names_row(params, entry_)) return;
    const std::byte* half = row(params, entry_) + thread % 32 / kRowsOfWarp * (kLines * kLine);
#pragma unroll
    for (int line = 0; line < kLines; ++line) ptx::prefetch_l2(half + line * kLine);
  }

  // The next block of the item, if there is one, as soon as its place is free.
  __device__ void copy(const SparseMlaParams& params, const Item& item, Shared& shared, int half,
                       int thread) {
    if (block_ >= item.last_block) return;
    const std::uint32_t slot = place_.slot;
    const int first = kRowsOfWarp * (thread / 32) + thread % 32 / 8;
    const int chunk = thread % 8;
    const Rows rows(params, entry_);
    ptx::mbarrier_wait(ptx::shared_address(&shared.right_free[slot][1]), place_.parity ^ 1);
    if (half == 0) {
      ptx::mbarrier_wait(ptx::shared_address(&shared.p_free[slot]), place_.parity ^ 1);
      const std::uint32_t tile = ptx::shared_address(shared.k_right[slot][kHalfTiles]);
#pragma unroll
      for (int pass = 0; pass < kRowsOfWarp; pass += kRowsAtOnce)
        ptx::cp_async_16(tile + chunk_offset(first + pass, chunk),
                         rows.take(pass, thread) + kKvFp8RopeOffset + 16 * chunk,
                         rows.there(pass, thread) ? 16 : 0);
      if (thread % 32 < kRowsOfWarp)
        ptx::cp_async_16(ptx::shared_address(&shared.raw_scales[slot][row_of(thread)]),
                         rows.own() + kKvFp8ScaleOffset, names_row(params, entry_) ? 16 : 0);
    } else {
      const std::uint32_t place =
          ptx::in_a_register(ptx::shared_address(shared.k_right[slot]) + raw_offset(first, chunk));
#pragma unroll
      for (int pass = 0; pass < kRowsOfWarp; pass += kRowsAtOnce) {
        const std::byte* source = rows.take(pass, thread) + 16 * chunk;
        const std::uint32_t bytes = rows.there(pass, thread) ? 16 : 0;
#pragma unroll
        for (int piece = 0; piece < kLatentDim / 128; ++piece)
          ptx::cp_async_16(place + pass * kLatentDim + 128 * piece, source + 128 * piece, bytes);
      }
    }
    ptx::mbarrier_arrive_after_cp_async(ptx::shared_address(&shared.raw_full[slot]));
    place_.advance();
    ++block_;
    read_entry(params, item, thread);
  }

 private:
  static const __device__ std::byte* row(const SparseMlaParams& params, std::int32_t entry) {
    return static_cast<const std::byte*>(params.kv.data) + entry * params.kv.row_stride_bytes;
  }

  // Where the rows of the lanes' entries begin.
  class Rows {
   public:
    __device__ Rows(const SparseMlaParams& params, std::int32_t entry)
        : there_(__ballot_sync(0xffffffff, names_row(params, entry))),
          row_(reinterpret_cast<std::uint64_t>(static_cast<const std::byte*>(params.kv.data) +
                                               (names_row(params, entry) ? entry : 0) *
                                                   params.kv.row_stride_bytes)) {}

    // Of this lane's row of a pass: row 0 of the cache where there is none.
    const __device__ std::byte* take(int pass, int thread) const {
      return reinterpret_cast<const std::byte*>(
          __shfl_sync(0xffffffff, row_, pass + thread % 32 / 8));
    }
    const __device__ std::byte* own() const { return reinterpret_cast<const std::byte*>(row_); }
    __device__ bool there(int pass, int thread) const {
      return (there_ >> (pass + thread % 32 / 8) & 1) != 0;
    }

   private:
    std::uint32_t there_;
    std::uint64_t row_;
  };

  // The row whose entry the thread has, as threads 16 ... 31 of a warp have for the first ones.
  static __device__ int row_of(int thread) {
    return kRowsOfWarp * (thread / 32) + thread % kRowsOfWarp;
  }

  __device__ void read_entry(const SparseMlaParams& params, const Item& item, int thread) {
    entry_ =
        listed(params, item, block_ * kBlock + kRowsOfWarp * (thread / 32) + thread % kRowsOfWarp);
  }

  Ring<kSlots> place_;
  int block_ = 0;
  std::int32_t entry_ = -1;
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
  };

  static __device__ Piece read_piece(const Shared& shared, std::uint32_t slot, int half, int row,
                                     int piece) {
    Piece read;
    const std::uint32_t raw = ptx::shared_address(shared.k_right[slot]);
    // Two addresses for all: what lies 128 bytes apart in a row does so in its place.
    const std::uint32_t of_two[2] = {raw + RawCopy::raw_offset(row, piece),
                                     raw + RawCopy::raw_offset(row, 4 + piece)};
#pragma unroll
    for (int i = 0; i < kHalfTiles; ++i)
      read.values[i] = ptx::load_shared_16(of_two[i % 2] + (kHalfTiles * half + i) / 2 * 128);
    return read;
  }

  // scales: of the half's two groups of 128 columns.
  static __device__ void store_piece(const Piece& read, float2 scales, std::uint32_t tiles, int row,
                                     int piece) {
    const std::uint32_t low_at = tiles + chunk_offset(row, 2 * piece);
    const std::uint32_t high_at = tiles + chunk_offset(row, 2 * piece + 1);
#pragma unroll
    for (int i = 0; i < kHalfTiles; ++i) {
      uint4 low, high;
      convert_16(read.values[i], i < 2 ? scales.x : scales.y, low, high);
      ptx::store_shared_16(low_at + i * kTileBytes, low);
      ptx::store_shared_16(high_at + i * kTileBytes, high);
    }
  }

  static __device__ void convert(Shared& shared, std::uint32_t slot, int thread) {
    const int row = thread / 4;
    const int piece = thread % 4;
    const auto scales = [&](int half, int of_row) {
      return reinterpret_cast<const float2*>(&shared.raw_scales[slot][of_row])[half];
    };
    const std::uint32_t left = ptx::shared_address(shared.k_left[slot]);
    const std::uint32_t right = ptx::shared_address(shared.k_right[slot]);
#pragma unroll 1
    for (int r = 0; r < kBlock; r += kRows)
      store_piece(read_piece(shared, slot, 0, row + r, piece), scales(0, row + r), left, row + r,
                  piece);
    ptx::fence_async_shared();
    ptx::mbarrier_arrive(ptx::shared_address(&shared.left_full[slot]));

    Piece read[kPasses];
#pragma unroll
    for (int i = 0; i < kPasses; ++i) read[i] = read_piece(shared, slot, 1, row + kRows * i, piece);
    ptx::named_barrier_sync(kBarrier, kThreads);
#pragma unroll
    for (int i = 0; i < kPasses; ++i)
      store_piece(read[i], scales(1, row + kRows * i), right, row + kRows * i, piece);
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
