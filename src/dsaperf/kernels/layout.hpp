#pragma once

#include <cstdint>

// Sizes and byte offsets of the caches, as FlashMLA and DeepGEMM read them. They are part of the
// interface: a cache made here can be handed to either. No function here, so that device code may
// include it.
namespace dsaperf::kernels {

inline constexpr int kLatentDim = 512;                 // value, and first part of the key
inline constexpr int kRopeDim = 64;                    // rest of the key
inline constexpr int kKeyDim = kLatentDim + kRopeDim;  // 576: a query row, a cache row
inline constexpr int kIndexDim = 128;                  // an index key
inline constexpr int kQuantGroup = 128;                // values that share a scale
inline constexpr int kPageTokens = 64;                 // of every paged cache

// Latent cache row, bf16: 512 latent, 64 rope.
inline constexpr int kKvRowBytesBf16 = 2 * kKeyDim;  // 1152

// Latent cache row, fp8: 512 e4m3, 4 f32 scales (one per 128 values), 64 bf16 rope.
inline constexpr int kKvFp8Scales = kLatentDim / kQuantGroup;                  // 4
inline constexpr int kKvFp8ScaleOffset = kLatentDim;                           // bytes
inline constexpr int kKvFp8RopeOffset = kKvFp8ScaleOffset + 4 * kKvFp8Scales;  // 528
inline constexpr int kKvRowBytesFp8 = kKvFp8RopeOffset + 2 * kRopeDim;         // 656

// Page of the index-key cache: 64 keys of 128 e4m3, then their 64 f32 scales.
inline constexpr int kIndexPageScaleOffset = kPageTokens * kIndexDim;            // 8192
inline constexpr int kIndexPageBytes = kIndexPageScaleOffset + 4 * kPageTokens;  // 8448
inline constexpr int kIndexKeyBytes = kIndexPageBytes / kPageTokens;             // 132

static_assert(kKvRowBytesBf16 == 1152 && kKvRowBytesFp8 == 656 && kIndexKeyBytes == 132);

}  // namespace dsaperf::kernels
