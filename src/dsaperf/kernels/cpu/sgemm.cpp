#include "dsaperf/kernels/cpu/sgemm.hpp"

#include "dsaperf/core/shared_library.hpp"
#include "dsaperf/kernels/blas/library.hpp"

#include <algorithm>
#include <cassert>

namespace dsaperf::kernels::cpu {
namespace {

using blas_library::Sgemm;

const Result<void*>& library_sgemm() {
  static const auto kFound =
      function_of_library(blas_library::kFileName, blas_library::kSgemmFunction);
  return kFound;
}

void multiply(const Sgemm& product) {
  if (product.m == 0 || product.n == 0) return;
  if (product.k == 0) {  // an empty sum, which BLAS refuses for its strides
    for (std::int64_t i = 0; i < product.m; ++i)
      std::fill_n(product.y + i * product.y_stride, product.n, 0.0F);
    return;
  }
  const auto& found = library_sgemm();
  assert(found);
  reinterpret_cast<blas_library::SgemmFunction*>(*found)(&product);
}

}  // namespace

Result<void> open_blas() {
  const auto& found = library_sgemm();
  if (!found) return tl::unexpected(found.error());
  return {};
}

void multiply_by_rows(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                      std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                      std::int64_t y_stride) {
  multiply({true, m, n, k, x, x_stride, w, w_stride, y, y_stride});
}

void multiply_by_columns(std::int64_t m, std::int64_t n, std::int64_t k, const float* x,
                         std::int64_t x_stride, const float* w, std::int64_t w_stride, float* y,
                         std::int64_t y_stride) {
  multiply({false, m, n, k, x, x_stride, w, w_stride, y, y_stride});
}

}  // namespace dsaperf::kernels::cpu
