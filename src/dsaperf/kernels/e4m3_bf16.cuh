#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

namespace dsaperf::kernels {

// Two e4m3 values, the first in the low byte, times scale as two bf16: exact up to the product in
// f32, rounded once. NaN stays NaN.
__device__ inline std::uint32_t scaled_bf16(std::uint32_t pair, float scale) {
  const auto codes = static_cast<__nv_fp8x2_storage_t>(pair);
  const float2 f = __half22float2(__half2(__nv_cvt_fp8x2_to_halfraw2(codes, __NV_E4M3)));
  const __nv_bfloat162 product = __floats2bfloat162_rn(f.x * scale, f.y * scale);
  return *reinterpret_cast<const std::uint32_t*>(&product);
}

}  // namespace dsaperf::kernels
