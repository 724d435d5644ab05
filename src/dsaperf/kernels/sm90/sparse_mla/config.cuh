#pragma once

#include "dsaperf/kernels/layout.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"

#include <cstddef>
#include <cstdint>

namespace dsaperf::kernels::sm90::sparse_mla {

inline constexpr int kHeadTile = 64;             // heads of a work item: M of both products
inline constexpr int kBlock = 64;                // selected tokens of a step
inline constexpr int kTiles = kKeyDim / 64;      // 9 column tiles of 64: 8 latent, 1 rope
inline constexpr int kRopeTile = kTiles - 1;     //
inline constexpr int kHalfTiles = 4;             // latent tiles of one value warpgroup
inline constexpr int kTileBytes = kBlock * 128;  // 64 rows of 64 bf16, 128-byte swizzle
inline constexpr int kSlots = 2;
inline constexpr int kMaxCluster = 16;
inline constexpr int kPartialStride = kLatentDim + 8;  // f32; the 8 spread rows over banks
inline constexpr int kWarpgroup = 128;

// Registers a thread after setmaxnreg, by role; their sum over warpgroups stays within what the
// launch allocated (threads * kLaunchRegisters).
template <KvRows::Format kFormat>
struct Roles;
template <>
struct Roles<KvRows::Format::kBf16> {
  static constexpr int kProducerThreads = 256;  // 128 keep too few cp.async in flight
  static constexpr int kThreads = 3 * kWarpgroup + kProducerThreads;
  static constexpr int kLaunchRegisters = 96;  // 65536 / 640, rounded down to a multiple of 8
  static constexpr int kScoreRegisters = 80;
  static constexpr int kValueRegisters = 160;
  static constexpr int kProducerRegisters = 40;
};
template <>
struct Roles<KvRows::Format::kFp8> {
  static constexpr int kProducerThreads = 128;
  static constexpr int kThreads = 3 * kWarpgroup + kProducerThreads;
  static constexpr int kLaunchRegisters = 128;
  static constexpr int kScoreRegisters = 72;
  static constexpr int kValueRegisters = 160;
  static constexpr int kProducerRegisters = 120;
};

struct SharedStorage {
  alignas(1024) std::byte q[kTiles][kTileBytes];  // [head, 64 columns]
  std::byte k[kSlots][kTiles][kTileBytes];        // [token, 64 columns]; rope tile turns into P
  float rescale[kSlots][kHeadTile];               // factor of the accumulators before this block
  std::uint32_t rescale_wanted[kSlots][4];        // by warp (16 heads)
  float inverse_sum[kHeadTile];
  float2 partial_stats[kMaxCluster][kHeadTile];  // {largest score (log2), sum} of each cluster CTA
  float4 raw_scales[kSlots][kBlock];             // fp8: of the rows being converted
  std::uint64_t q_full, q_free;
  std::uint64_t raw_full[kSlots];      // fp8: rows copied, not yet converted
  std::uint64_t k_full[kSlots][2];     // by column half; the second with the rope tile
  std::uint64_t k_free[kSlots][2][2];  // by column half, by row half
  std::uint64_t p_full[kSlots];
  std::uint64_t sum_full, sum_free;
};
inline constexpr std::size_t kMaxSharedBytes = 232448;
static_assert(sizeof(SharedStorage) <= kMaxSharedBytes);
static_assert(sizeof(float) * kHeadTile * kPartialStride <= sizeof(SharedStorage::k));

}  // namespace dsaperf::kernels::sm90::sparse_mla
