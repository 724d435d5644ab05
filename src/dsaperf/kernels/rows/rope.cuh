#pragma once

#include "dsaperf/kernels/rope.hpp"
#include "dsaperf/kernels/rows/begin.cuh"
#include "dsaperf/kernels/rows/pieces.cuh"

// Rope: a thread four pairs, or one where rows are not made of whole pieces; cosines and sines come
// from the table, so no angle is computed here.
//
//   bound by  8 bytes a pair of x, read and written; the table's row is shared by all heads
//   limits    dim, strides and pointers that are no multiples of 16 bytes: a thread a pair
namespace dsaperf::kernels::rows {

inline constexpr int kRopeThreads = 256;

// Of a row.
template <bool kWhole>
__host__ __device__ inline int rope_units(const RopeParams& params) {
  return kWhole ? params.dim / kPiece : params.dim / 2;
}

__device__ inline float2 turned(float a, float b, float cosine, float sine) {
  return make_float2(fmaf(a, cosine, -(b * sine)), fmaf(a, sine, b * cosine));
}

// Unit `unit` of the row of a head of a token.
template <bool kWhole>
__device__ inline void rope_unit(const RopeParams& params, std::int64_t row, int unit) {
  const std::int64_t token = row / params.heads;
  const std::int64_t head = row - token * params.heads;
  auto* out = bf16_row(params.x, token * params.token_stride + head * params.head_stride);
  const auto* in = params.source == nullptr
                       ? out
                       : bf16_row(params.source, token * params.source_token_stride +
                                                     head * params.source_head_stride);
  const int half = params.dim / 2;
  const bool interleaved = params.pairs == RopePairs::kInterleaved;
  const float* table = params.cos_sin + std::int64_t{params.positions[token]} * params.dim;
  if constexpr (kWhole) {
    // Words of four pairs: interleaved, a pair each; else two first values in each of the first two
    // words, their seconds in the other two.
    Words words;
    const int at = 4 * unit;
    if (interleaved) {
      words = load_piece<true>(in, 2 * at, params.dim);
    } else {
      const uint2 first = *reinterpret_cast<const uint2*>(in + at);
      const uint2 second = *reinterpret_cast<const uint2*>(in + at + half);
      words = {{first.x, first.y, second.x, second.y}};
    }
    const float4 cosine = *reinterpret_cast<const float4*>(table + at);
    const float4 sine = *reinterpret_cast<const float4*>(table + half + at);
    const auto [a, b, c, d] = words.word;
    if (interleaved) {
      const float2 p = turned(low(a), high(a), cosine.x, sine.x);
      const float2 q = turned(low(b), high(b), cosine.y, sine.y);
      const float2 r = turned(low(c), high(c), cosine.z, sine.z);
      const float2 s = turned(low(d), high(d), cosine.w, sine.w);
      words = {{pack(p.x, p.y), pack(q.x, q.y), pack(r.x, r.y), pack(s.x, s.y)}};
      store_piece<true>(out, 2 * at, params.dim, words);
    } else {
      const float2 p = turned(low(a), low(c), cosine.x, sine.x);
      const float2 q = turned(high(a), high(c), cosine.y, sine.y);
      const float2 r = turned(low(b), low(d), cosine.z, sine.z);
      const float2 s = turned(high(b), high(d), cosine.w, sine.w);
      *reinterpret_cast<uint2*>(out + at) = make_uint2(pack(p.x, q.x), pack(r.x, s.x));
      *reinterpret_cast<uint2*>(out + at + half) = make_uint2(pack(p.y, q.y), pack(r.y, s.y));
    }
  } else {
    const int first = interleaved ? 2 * unit : unit;
    const int second = interleaved ? 2 * unit + 1 : unit + half;
    const float2 pair = turned(low(in[first]), low(in[second]), table[unit], table[half + unit]);
    const std::uint32_t packed = pack(pair.x, pair.y);
    out[first] = static_cast<std::uint16_t>(packed);
    out[second] = static_cast<std::uint16_t>(packed >> 16);
  }
}

// All rows, by the threads of `blocks` CTAs.
template <bool kWhole>
__device__ inline void rope_rows(const RopeParams& params, std::int64_t block,
                                 std::int64_t blocks) {
  const int units = rope_units<kWhole>(params);
  const std::int64_t count = params.tokens * params.heads * units;
  for (std::int64_t u = block * kRopeThreads + threadIdx.x; u < count; u += blocks * kRopeThreads) {
    const std::int64_t row = u / units;
    rope_unit<kWhole>(params, row, static_cast<int>(u - row * units));
  }
}

template <bool kWhole>
__global__ void __launch_bounds__(kRopeThreads) rope_kernel(const RopeParams params) {
  begin_beside_previous_grid();
  rope_rows<kWhole>(params, blockIdx.x, gridDim.x);
}

}  // namespace dsaperf::kernels::rows
