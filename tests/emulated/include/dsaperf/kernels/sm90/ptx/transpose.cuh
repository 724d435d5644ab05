#pragma once

#include "emulated_cuda.hpp"

// The instructions of the file of this name under src, on emulated CTAs.
namespace dsaperf::kernels::sm90::ptx {

inline std::uint32_t transpose_8x8(std::uint32_t a) {
  const auto words = emulated::gather_warp(a);
  const std::uint32_t lane = threadIdx.x % 32;
  // Element (row, column) is half column % 2 of lane 4 * row + column / 2.
  const auto element = [&](std::uint32_t row, std::uint32_t column) {
    return words[4 * row + column / 2] >> (16 * (column % 2)) & 0xffff;
  };
  const std::uint32_t row = 2 * (lane % 4);
  return element(row, lane / 4) | element(row + 1, lane / 4) << 16;
}

template <class... Words>
void store_transposed(std::uint32_t address, Words... matrices) {
  const auto columns = emulated::gather_warp(address);
  const std::uint32_t lane = threadIdx.x % 32;
  std::uint32_t matrix = 0;
  const auto store = [&](std::uint32_t word) {
    *static_cast<std::uint32_t*>(emulated::own_pointer_of(columns[8 * matrix + lane / 4] +
                                                          4 * (lane % 4))) = transpose_8x8(word);
    ++matrix;
  };
  (store(matrices), ...);
}

inline void stmatrix_transposed_x4(std::uint32_t address, std::uint32_t a, std::uint32_t b,
                                   std::uint32_t c, std::uint32_t d) {
  store_transposed(address, a, b, c, d);
}
inline void stmatrix_transposed_x2(std::uint32_t address, std::uint32_t a, std::uint32_t b) {
  store_transposed(address, a, b);
}

}  // namespace dsaperf::kernels::sm90::ptx
