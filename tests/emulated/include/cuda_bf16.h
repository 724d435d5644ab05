#pragma once

#include "dsaperf/kernels/formats.hpp"

// Stands in for CUDA's header where device code is compiled for the host.
struct __nv_bfloat16 {
  std::uint16_t bits;
};
struct alignas(4) __nv_bfloat162 {
  __nv_bfloat16 x, y;
};
inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
  return {{dsaperf::kernels::bf16_from(low)}, {dsaperf::kernels::bf16_from(high)}};
}
