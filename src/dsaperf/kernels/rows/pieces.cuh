#pragma once

#include <cuda_bf16.h>

#include <cstdint>

// Rows of bf16 in pieces of eight neighbours: one load or store of 16 bytes where the row's start
// and length allow it (kWhole), element by element where not.
namespace dsaperf::kernels::rows {

inline constexpr int kPiece = 8;

struct Words {
  std::uint32_t word[kPiece / 2];  // two bf16 each, the first in the low half
};

// What stands beyond the row's end is 0.
template <bool kWhole>
__device__ inline Words load_piece(const std::uint16_t* row, int first, int dim) {
  Words words = {};
  if constexpr (kWhole) {
    if (first < dim) {
      const uint4 loaded = *reinterpret_cast<const uint4*>(row + first);
      words = {{loaded.x, loaded.y, loaded.z, loaded.w}};
    }
  } else {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      const std::uint32_t bits = first + i < dim ? row[first + i] : 0;
      words.word[i / 2] |= bits << (16 * (i % 2));
    }
  }
  return words;
}

template <bool kWhole>
__device__ inline void store_piece(std::uint16_t* row, int first, int dim, const Words& words) {
  if constexpr (kWhole) {
    if (first < dim) {
      *reinterpret_cast<uint4*>(row + first) =
          make_uint4(words.word[0], words.word[1], words.word[2], words.word[3]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kPiece; ++i) {
      if (first + i < dim) {
        row[first + i] = static_cast<std::uint16_t>(words.word[i / 2] >> (16 * (i % 2)));
      }
    }
  }
}

__device__ inline float low(std::uint32_t word) {
  return __uint_as_float(word << 16);
}
__device__ inline float high(std::uint32_t word) {
  return __uint_as_float(word & 0xffff0000);
}

__device__ inline void unpack(const Words& words, float (&values)[kPiece]) {
#pragma unroll
  for (int i = 0; i < kPiece / 2; ++i) {
    values[2 * i] = low(words.word[i]);
    values[2 * i + 1] = high(words.word[i]);
  }
}

// Rounded to nearest, ties to even.
__device__ inline std::uint32_t pack(float first, float second) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(first, second);
  return *reinterpret_cast<const std::uint32_t*>(&pair);
}

__device__ inline Words pack(const float (&values)[kPiece]) {
  Words words;
#pragma unroll
  for (int i = 0; i < kPiece / 2; ++i) words.word[i] = pack(values[2 * i], values[2 * i + 1]);
  return words;
}

// Eight f32 of a vector that is read by pieces.
__device__ inline void load_floats(const float* at, float (&values)[kPiece]) {
#pragma unroll
  for (int i = 0; i < kPiece; i += 4) {
    const float4 four = *reinterpret_cast<const float4*>(at + i);
    values[i] = four.x;
    values[i + 1] = four.y;
    values[i + 2] = four.z;
    values[i + 3] = four.w;
  }
}

const __device__ inline std::uint16_t* bf16_row(const void* base, std::int64_t offset) {
  return static_cast<const std::uint16_t*>(base) + offset;
}
__device__ inline std::uint16_t* bf16_row(void* base, std::int64_t offset) {
  return static_cast<std::uint16_t*>(base) + offset;
}

}  // namespace dsaperf::kernels::rows
