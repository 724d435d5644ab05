#include "dsaperf/kernels/cpu/sgemm.hpp"

#include <cblas.h>

#include <algorithm>
#include <mutex>

namespace dsaperf::kernels::cpu {
namespace {

// Our threads call it side by side; a second level of threads below them would only get in the way.
void one_thread_each() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

void sgemm(CBLAS_TRANSPOSE w_order, std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
           std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
           std::int64_t y_stride) {
  if (m == 0 || n == 0) return;
  if (k == 0) {  // an empty sum, which BLAS refuses for its strides
    for (std::int64_t i = 0; i < m; ++i) std::fill_n(y + i * y_stride, n, 0.0F);
    return;
  }
  one_thread_each();
  const auto size = [](std::int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, w_order, size(m), size(n), size(k), 1.0F, x,
              size(x_stride), w, size(w_stride), 0.0F, y, size(y_stride));
}

}  // namespace

void multiply_by_rows(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                      std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                      std::int64_t y_stride) {
  sgemm(CblasTrans, m, n, k, x, x_stride, w, w_stride, y, y_stride);
}

void multiply_by_columns(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                         std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                         std::int64_t y_stride) {
  sgemm(CblasNoTrans, m, n, k, x, x_stride, w, w_stride, y, y_stride);
}

}  // namespace dsaperf::kernels::cpu
