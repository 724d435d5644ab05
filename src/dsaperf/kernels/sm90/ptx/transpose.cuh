#pragma once

#include <cstdint>

// 8x8 matrices of 16-bit values, turned. A lane holds row l / 4, columns 2 * (l % 4) and the next.
// PTX ISA 9.7.14.5.16 "stmatrix" and 9.7.14.5.17 "movmatrix".
namespace dsaperf::kernels::sm90::ptx {

// Lane l gives the address of COLUMN l % 8 of matrix l / 8: 16 bytes, the column's 8 values.
__device__ inline void stmatrix_transposed_x4(std::uint32_t address, std::uint32_t a,
                                              std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared::cta.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
      "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}

// Two matrices; the addresses of lanes 16 ... 31 are not used.
__device__ inline void stmatrix_transposed_x2(std::uint32_t address, std::uint32_t a,
                                              std::uint32_t b) {
  asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared::cta.b16 [%0], {%1, %2};" ::"r"(address),
               "r"(a), "r"(b)
               : "memory");
}

// The transposed matrix: lane l receives column l / 4, rows 2 * (l % 4) and the next.
__device__ inline std::uint32_t transpose_8x8(std::uint32_t a) {
  std::uint32_t turned;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(turned) : "r"(a));
  return turned;
}

}  // namespace dsaperf::kernels::sm90::ptx
