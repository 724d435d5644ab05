#pragma once

#include <cstdint>

// Between the programs and the shared library that holds OpenBLAS: one function, found by name at
// run time.
namespace dsaperf::kernels::blas_library {

// y[m, n] = x[m, k] * w, f32, rows `stride` apart; w is [n, k] where it is `transposed`, else
// [k, n]. No size is zero.
struct Sgemm {
  bool transposed = false;
  std::int64_t m = 0, n = 0, k = 0;
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const float* w = nullptr;
  std::int64_t w_stride = 0;
  float* y = nullptr;
  std::int64_t y_stride = 0;
};

inline constexpr const char* kFileName = "libdsaperf_blas.so";
inline constexpr const char* kSgemmFunction = "dsaperf_sgemm";
using SgemmFunction = void(const Sgemm* product);

}  // namespace dsaperf::kernels::blas_library
