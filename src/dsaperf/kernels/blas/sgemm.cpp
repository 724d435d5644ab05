#include "dsaperf/kernels/blas/library.hpp"

#include <cblas.h>

#include <mutex>

namespace {

// Our threads call it side by side; a second level of threads below them would only get in the way.
void one_thread_each() {
  static std::once_flag once;
  std::call_once(once, [] { openblas_set_num_threads(1); });
}

}  // namespace

extern "C" void dsaperf_sgemm(const dsaperf::kernels::blas_library::Sgemm* product) {
  one_thread_each();
  const auto& p = *product;
  const auto size = [](std::int64_t value) { return static_cast<blasint>(value); };
  cblas_sgemm(CblasRowMajor, CblasNoTrans, p.transposed ? CblasTrans : CblasNoTrans, size(p.m),
              size(p.n), size(p.k), 1.0F, p.x, size(p.x_stride), p.w, size(p.w_stride), 0.0F, p.y,
              size(p.y_stride));
}
