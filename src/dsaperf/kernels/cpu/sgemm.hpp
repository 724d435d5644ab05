#pragma once

#include <cstdint>

namespace dsaperf::kernels::cpu {

// y[m, n] = x[m, k] * w[n, k]^T, f32, rows `stride` apart; on the calling thread alone.
void multiply_by_rows(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                      std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                      std::int64_t y_stride);

// y[m, n] = x[m, k] * w[k, n], likewise.
void multiply_by_columns(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                         std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                         std::int64_t y_stride);

}  // namespace dsaperf::kernels::cpu
