#pragma once

#include "cuda_fp16.h"
#include "dsaperf/kernels/formats.hpp"

// Stands in for CUDA's header where device code is compiled for the host.
using __nv_fp8x2_storage_t = std::uint16_t;
enum __nv_fp8_interpretation_t { __NV_E4M3 };
inline __half2_raw __nv_cvt_fp8x2_to_halfraw2(__nv_fp8x2_storage_t pair,
                                              __nv_fp8_interpretation_t) {
  return {dsaperf::kernels::e4m3_to_float(static_cast<std::uint8_t>(pair)),
          dsaperf::kernels::e4m3_to_float(static_cast<std::uint8_t>(pair >> 8))};
}

enum __nv_saturation_t { __NV_SATFINITE };
// As the instruction does it, NaN keeps its sign.
inline __nv_fp8x2_storage_t __nv_cvt_float2_to_fp8x2(float2 pair, __nv_saturation_t,
                                                     __nv_fp8_interpretation_t) {
  const auto code = [](float value) -> std::uint32_t {
    if (std::isnan(value)) return std::signbit(value) ? 0xff : 0x7f;
    return dsaperf::kernels::e4m3_from(value);
  };
  return static_cast<__nv_fp8x2_storage_t>(code(pair.x) | code(pair.y) << 8);
}
