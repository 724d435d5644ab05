#pragma once

#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/work.cuh"

// Partial outputs of split lists, as they stand in memory from the kernel that attends to the one
// that combines: in pieces of 8 heads and 16 columns, of which lane l holds head l / 4, columns
// 2 * (l % 4), the next, and the two 8 beyond: as the accumulators have them. So a warp writes and
// reads 512 bytes at a time. The 32 pieces of 8 heads follow each other.
namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kPieceHeads = 8;
inline constexpr int kPieceColumns = 16;
inline constexpr int kPieces = kLatentDim / kPieceColumns;  // of 8 heads

// What lane 0 holds of the first piece of 8 heads whose first has this row.
__device__ inline float4* pieces_of(const PartsParams& params, std::int64_t row) {
  return params.partial + row * (kLatentDim / 4);
}

// Columns 256 * half ... of the 16 heads that a warp's accumulators hold.
__device__ inline void store_partial(const PartsParams& params, int heads, const float (&o)[128],
                                     int half) {
  std::uint32_t thread = threadIdx.x;
  ptx::compute_from_here(thread);  // once an item; registers are scarce in between
  const int warp = static_cast<int>(thread / 32 % 4);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int first_head = 16 * warp + kPieceHeads * r;
    if (first_head >= heads) continue;
    float4* here = pieces_of(params, std::int64_t{blockIdx.x} * kHeadTile + first_head) +
                   half * kPieces / 2 * 32 + thread % 32;
#pragma unroll
    for (int piece = 0; piece < kPieces / 2; ++piece) {
      const int at = 8 * piece + 2 * r;
      here[32 * piece] = make_float4(o[at], o[at + 1], o[at + 4], o[at + 5]);
    }
  }
}

// Turns what a lane holds of a piece, in pairs of bf16, so that it has four columns in a row, and
// stores them. `out`: the first column of the piece, of the lane's head.
__device__ inline void store_piece(std::uint32_t first, std::uint32_t second, __nv_bfloat16* out) {
  const int quad = threadIdx.x % 4;
  const bool odd = quad % 2 != 0;
  const std::uint32_t other = __shfl_xor_sync(0xffffffff, odd ? first : second, 1);
  *reinterpret_cast<uint2*>(out + (odd ? 8 : 0) + quad / 2 * 4) =
      odd ? make_uint2(other, second) : make_uint2(first, other);
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
