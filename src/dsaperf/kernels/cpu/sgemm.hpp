#pragma once

#include "dsaperf/core/error.hpp"

#include <cstdint>

namespace dsaperf::kernels::cpu {

// Opens OpenBLAS: it takes some milliseconds to load and starts a thread a core that spins at
// first, which a program that multiplies nothing does not pay. To be called, with success, before
// any product. Fails with kUnsupported where it is not there.
Result<void> open_blas();

// y[m, n] = x[m, k] * w[n, k]^T, f32, rows `stride` apart; on the calling thread alone.
void multiply_by_rows(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                      std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                      std::int64_t y_stride);

// y[m, n] = x[m, k] * w[k, n], likewise.
void multiply_by_columns(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                         std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                         std::int64_t y_stride);

}  // namespace dsaperf::kernels::cpu
