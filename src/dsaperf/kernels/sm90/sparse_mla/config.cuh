#pragma once

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"

#include <cstddef>
#include <cstdint>

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kHeadTile = 64;                     // heads of a work item: M of both products
inline constexpr int kBlock = 64;                        // selected tokens of a step
inline constexpr int kTiles = kKeyDim / 64;              // 9 column tiles of 64: 8 latent, 1 rope
inline constexpr int kRopeTile = kTiles - 1;             //
inline constexpr int kHalfTiles = 4;                     // latent tiles of one value warpgroup
inline constexpr int kTileBytes = kBlock * 128;          // 64 rows of 64 bf16, 128-byte swizzle
inline constexpr int kRightTiles = kTiles - kHalfTiles;  // with the rope tile
inline constexpr int kSlots = 2;  // of right halves, of P, of what goes with a block
inline constexpr int kMaxCluster = 16;
inline constexpr int kPartialStride = kLatentDim + 8;  // f32; the 8 spread rows over banks
inline constexpr int kWarpgroup = 128;
inline constexpr float kMaximumFloor = -1e30F;  // finite: -inf - -inf would be NaN
inline constexpr int kLazyExponent = 8;         // of two: by how much a score may exceed it
// The largest P of such a score, 2^kLazyExponent, as bits of a bf16.
inline constexpr std::uint32_t kLazyLimit = (127 + kLazyExponent) << 7;

// How the CTAs that share the list of an item bring their parts of the result together.
enum class Merge {
  kNone,     // one CTA has the whole list
  kCluster,  // through distributed shared memory
  kParts,    // f32 partial outputs in memory, combined by a second kernel (combine.cuh)
};

// A call whose lists are split over `parts` CTAs each.
struct PartsParams : SparseMlaParams {
  int parts = 1;
  float4* partial = nullptr;  // [items, parts], 128 KB each: partial.cuh
  float2* stats = nullptr;    // [items, parts, 64]: largest score (log2), sum relative to it
};

// What differs by format: where Q is held, how many left halves of K rows are buffered, and the
// registers a thread after setmaxnreg, whose sum over the warpgroups is what the launch gives.
// kProducers: warpgroups that gather or convert rows.
template <KvRows::Format kFormat, int kProducers = 1>
struct Roles {
  static constexpr bool kBf16 = kFormat == KvRows::Format::kBf16;
  static constexpr bool kOneProducer = kProducers == 1;
  static constexpr int kProducerThreads = kProducers * kWarpgroup;
  static constexpr int kThreads = 3 * kWarpgroup + kProducerThreads;
  static constexpr int kLaunchRegisters = kOneProducer ? 128 : 96;
  static constexpr int kValueRegisters = 160;
  // bf16: the left tiles of Q stay in registers, which frees a third buffer for left halves.
  static constexpr int kRegisterTiles = kBf16 ? kHalfTiles : 0;
  static constexpr int kLeftSlots = kBf16 ? 3 : 2;
  static constexpr int kScoreRegisters = kBf16 ? 152 : kOneProducer ? 88 : 80;
  static constexpr int kProducerRegisters = kBf16 || !kOneProducer ? 40 : 104;
  static_assert(kScoreRegisters + 2 * kValueRegisters + kProducers * kProducerRegisters <=
                (3 + kProducers) * kLaunchRegisters);
  static_assert(kOneProducer || !kBf16);
};

template <KvRows::Format kFormat>
struct SharedStorage {
  using R = Roles<kFormat>;
  alignas(1024) std::byte q[kTiles - R::kRegisterTiles][kTileBytes];  // [head, 64 columns]
  std::byte k_left[R::kLeftSlots][kHalfTiles][kTileBytes];            // [token, 64 columns]
  std::byte k_right[kSlots][kRightTiles][kTileBytes];  // the rope tile, last, turns into P
  float rescale[kSlots][kHeadTile];                    // factor of the accumulators before a block
  std::uint32_t rescale_wanted[kSlots][4];             // by warp (16 heads)
  union {
    float inverse_sum[kHeadTile];                  // CTA alone
    float2 partial_stats[kMaxCluster][kHeadTile];  // {largest score (log2), sum} by cluster CTA
  };
  float4 raw_scales[kSlots][R::kBf16 ? 1 : kBlock];  // fp8: of the rows being converted
  std::uint64_t raw_full[kSlots];                    // fp8: rows copied, not yet converted
  std::uint64_t left_full[R::kLeftSlots], right_full[kSlots];
  std::uint64_t left_free[R::kLeftSlots][2], right_free[kSlots][2];  // by row half
  std::uint64_t p_full[kSlots], p_free[kSlots];
  std::uint64_t sum_full, sum_free;

  __device__ std::byte* p(std::uint32_t slot) { return k_right[slot][kHalfTiles]; }
  // Partial accumulators of a cluster CTA, over the rows that are no longer needed.
  __device__ float* partial() { return reinterpret_cast<float*>(k_left); }
  static constexpr std::size_t kPartialBytes = sizeof(float) * kHeadTile * kPartialStride;
  static_assert(kPartialBytes <= sizeof(k_left) + sizeof(k_right));
};

// Byte offset of 16-byte chunk `chunk` of row `row` in a tile.
__device__ inline std::uint32_t chunk_offset(std::uint32_t row, std::uint32_t chunk) {
  return row * 128 + ((chunk ^ (row & 7)) << 4);
}

// Position in a ring of kSize buffers and the parity of its current use.
template <int kSize>
struct Ring {
  std::uint32_t slot = 0;
  std::uint32_t parity = 0;

  __device__ void advance() {
    if (++slot == kSize) {
      slot = 0;
      parity ^= 1;
    }
  }
};

inline constexpr std::size_t kMaxSharedBytes = 232448;
static_assert(sizeof(SharedStorage<KvRows::Format::kBf16>) <= kMaxSharedBytes);
static_assert(sizeof(SharedStorage<KvRows::Format::kFp8>) <= kMaxSharedBytes);

}  // namespace dsaperf::kernels::sm90::sparse_mla
