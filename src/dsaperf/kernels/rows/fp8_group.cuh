#pragma once

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <cuda_fp8.h>

#include <cfloat>
#include <cstdint>

// One group of 128 values, spread over kLanes neighbouring lanes of a warp, to e4m3 with one scale.
namespace dsaperf::kernels::rows {

// Largest magnitude of the group; NaN is passed over, as fmaxf does.
template <int kLanes, int kValues>
__device__ inline float group_absmax(const float (&values)[kValues]) {
  static_assert(kLanes * kValues == kQuantGroup);
  float largest = 0;
#pragma unroll
  for (const float value : values) largest = fmaxf(largest, fabsf(value));
#pragma unroll
  for (int lane = kLanes / 2; lane > 0; lane /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, lane));
  }
  return largest;
}

// e4m3_scale() of formats.hpp on the device, bit for bit.
__device__ inline float group_scale(float absmax, ScaleFormat format) {
  if (format == ScaleFormat::kF32) {
    // 1e-4 is no f32: the floor is compared and divided in double, as the host does.
    const double bounded = fmin(fmax(static_cast<double>(absmax), kAbsmaxFloor), double{FLT_MAX});
    return static_cast<float>(bounded / kE4m3Max);
  }
  // 448 = 1.75 * 2^8: the exponent less 8, one more where the fraction is beyond 0.75, which is
  // 0x600000 of 2^23; adding 0x1fffff carries exactly then. The f32 next to the floor has the
  // floor's exponent, and infinity comes out as the largest f32 does.
  const std::uint32_t bits = __float_as_uint(fmaxf(absmax, static_cast<float>(kAbsmaxFloor)));
  return __uint_as_float(((bits + 0x1fffff) & 0x7f800000) - (8U << 23));
}

// Values divided by the scale, as e4m3, four a word. With a power of two the quotient is exact and
// the result is the host's; with another scale it is rounded twice, off by at most one code.
template <int kValues>
__device__ inline void group_codes(const float (&values)[kValues], float scale, ScaleFormat format,
                                   std::uint32_t (&codes)[kValues / 4]) {
  float quotients[kValues];
  if (format == ScaleFormat::kUe8m0) {
    // Exponents of the two add up to 254; neither is 0 or 255 (group_scale).
    const float inverse = __uint_as_float((254U << 23) - __float_as_uint(scale));
#pragma unroll
    for (int i = 0; i < kValues; ++i) quotients[i] = values[i] * inverse;
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i) quotients[i] = values[i] / scale;
  }
#pragma unroll
  for (int i = 0; i < kValues / 4; ++i) {
    const float* four = quotients + 4 * i;
    const std::uint32_t first =
        __nv_cvt_float2_to_fp8x2(make_float2(four[0], four[1]), __NV_SATFINITE, __NV_E4M3);
    const std::uint32_t second =
        __nv_cvt_float2_to_fp8x2(make_float2(four[2], four[3]), __NV_SATFINITE, __NV_E4M3);
    const std::uint32_t word = first | second << 16;
    // NaN (0x7f) keeps its sign in the conversion; formats.hpp writes one NaN.
    codes[i] = word & ~(((word & 0x7f7f7f7f) + 0x01010101) & 0x80808080);
  }
}

// Eight codes of a row of bytes.
template <bool kWhole>
__device__ inline void store_codes(std::uint8_t* row, int first, int dim, std::uint32_t low_word,
                                   std::uint32_t high_word) {
  if constexpr (kWhole) {
    if (first < dim) *reinterpret_cast<uint2*>(row + first) = make_uint2(low_word, high_word);
  } else {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const std::uint32_t word = i < 4 ? low_word : high_word;
      if (first + i < dim) row[first + i] = static_cast<std::uint8_t>(word >> (8 * (i % 4)));
    }
  }
}

}  // namespace dsaperf::kernels::rows
