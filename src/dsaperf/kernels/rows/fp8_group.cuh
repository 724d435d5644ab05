#pragma once

#include "dsaperf/kernels/formats.hpp"
#include "dsaperf/kernels/layout.hpp"

#include <cuda_fp8.h>

#include <cfloat>
#include <cstdint>

// One group of 128 values of a warp, four neighbours a lane, to e4m3 with one scale.
namespace dsaperf::kernels::rows {

inline constexpr int kLaneValues = kQuantGroup / 32;

// Largest magnitude of the warp's values; NaN is passed over, as fmaxf does.
__device__ inline float group_absmax(const float (&values)[kLaneValues]) {
  float largest = 0;
#pragma unroll
  for (const float value : values) largest = fmaxf(largest, fabsf(value));
  for (int lane = 16; lane > 0; lane /= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, lane));
  }
  return largest;
}

// e4m3_scale() of formats.hpp on the device, bit for bit.
__device__ inline float group_scale(float absmax, ScaleFormat format) {
  // 1e-4 is no f32: the floor is compared and divided in double, as the host does.
  double bounded = fmax(static_cast<double>(absmax), kAbsmaxFloor);
  bounded = fmin(bounded, static_cast<double>(FLT_MAX));
  if (format == ScaleFormat::kF32) return static_cast<float>(bounded / kE4m3Max);
  int exponent = 0;
  const double mantissa = frexp(bounded, &exponent);
  return ldexpf(1.0F, exponent - (mantissa <= 0.875 ? 9 : 8));
}

// The four values of a lane, divided by the scale, as e4m3. With a power of two the quotient is
// exact and the result is the host's; with another scale it is rounded twice, off by at most one
// code.
__device__ inline std::uint32_t group_values(const float (&values)[kLaneValues], float scale) {
  std::uint32_t packed = 0;
#pragma unroll
  for (int i = 0; i < kLaneValues; ++i) {
    const auto code = static_cast<std::uint32_t>(
        __nv_cvt_float_to_fp8(values[i] / scale, __NV_SATFINITE, __NV_E4M3));
    // NaN keeps its sign in the conversion; formats.hpp writes one NaN.
    packed |= ((code & 0x7f) == 0x7f ? 0x7fU : code) << (8 * i);
  }
  return packed;
}

}  // namespace dsaperf::kernels::rows
