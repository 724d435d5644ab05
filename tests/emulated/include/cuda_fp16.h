#pragma once

#include "emulated_cuda.hpp"

// Stands in for CUDA's header where device code is compiled for the host; e4m3 values are exact in
// f16, so floats do for them.
struct __half2_raw {
  float x, y;
};
struct __half2 {
  explicit __half2(__half2_raw raw) : value(raw) {}
  __half2_raw value;
};
inline float2 __half22float2(const __half2& pair) {
  return {pair.value.x, pair.value.y};
}
