#pragma once

#include "dsaperf/kernels/sm90/ptx/wgmma.cuh"

namespace dsaperf::kernels::sm90::ptx {

template <int kColumns, bool kTransposeA, int kFirst, int kSize>
void wgmma_m64_few(float (&d)[kSize], std::uint64_t a, std::uint64_t b, int accumulate) {
  static_assert(kFirst + kColumns / 2 <= kSize);
  multiply<kFirst, kColumns / 2>(
      d, [a](auto row, auto k) { return kTransposeA ? mn_major(a, row, k) : k_major(a, row, k); },
      [b](auto column, auto k) { return k_major(b, column, k); }, accumulate);
}

}  // namespace dsaperf::kernels::sm90::ptx
