#pragma once

#include "dsaperf/kernels/formats.hpp"
#include "emulated_cuda.hpp"

#include <array>

// The products of the file of this name under src: each thread computes the elements of D that
// it holds, at some time between commit and wait. Operands are read through their descriptors, by
// address, with the swizzle that the hardware applies: bits 4-6 of an address are combined with
// bits 7-9.
namespace dsaperf::kernels::sm90::ptx {

inline void wgmma_fence() {
}
inline void wgmma_commit() {
  emulated::commit_products();
}
template <int kPending>
void wgmma_wait() {
  emulated::finish_products(kPending);
  emulated::gather_warp(0);
}
template <int kSize>
void own_registers(float (&)[kSize]) {
}

inline void compute_from_here(std::uint32_t&) {
}

inline std::uint64_t swizzled_128b(std::uint32_t address, std::uint32_t leading_bytes) {
  return static_cast<std::uint64_t>((address & 0x3ffff) >> 4) |
         static_cast<std::uint64_t>(leading_bytes >> 4) << 16 |
         static_cast<std::uint64_t>(1024 >> 4) << 32 | std::uint64_t{1} << 62;
}

inline float bf16_at(std::uint32_t address) {
  const std::uint32_t swizzled = address ^ ((address >> 7 & 7) << 4);
  std::uint16_t bits = 0;
  std::memcpy(&bits, sparse_mla::shared_bytes + swizzled, sizeof bits);
  return bf16_to_float(bits);
}

// Element (row, k) of a K-major operand.
inline float k_major(std::uint64_t descriptor, std::uint32_t row, std::uint32_t k) {
  const std::uint32_t start = (descriptor & 0x3fff) << 4;
  const std::uint32_t stride = (descriptor >> 32 & 0x3fff) << 4;
  return bf16_at(start + row / 8 * stride + row % 8 * 128 + 2 * k);
}

// Element (n, k) of an MN-major operand.
inline float mn_major(std::uint64_t descriptor, std::uint32_t n, std::uint32_t k) {
  const std::uint32_t start = (descriptor & 0x3fff) << 4;
  const std::uint32_t leading = (descriptor >> 16 & 0x3fff) << 4;
  const std::uint32_t stride = (descriptor >> 32 & 0x3fff) << 4;
  return bf16_at(start + n / 64 * leading + k / 8 * stride + k % 8 * 128 + n % 64 * 2);
}

// d[4 j + 2 r + i] is row 16 * warp + lane / 4 + 8 r, column 8 j + 2 * (lane % 4) + i.
template <int kFirst, int kCount, int kK = 16, int kSize, class A, class B>
void multiply(float (&d)[kSize], A a, B b, int accumulate) {
  emulated::multiply_later([&d, a, b, accumulate] {
    const std::uint32_t lane = threadIdx.x % 32;
    const std::uint32_t row = 16 * (threadIdx.x / 32 % 4) + lane / 4;
    for (std::uint32_t e = 0; e < kCount; ++e) {
      const std::uint32_t r = row + 8 * (e / 2 % 2);
      const std::uint32_t column = 8 * (e / 4) + 2 * (lane % 4) + e % 2;
      float sum = accumulate != 0 ? d[kFirst + e] : 0;
      for (std::uint32_t k = 0; k < kK; ++k) sum += a(r, k) * b(column, k);
      d[kFirst + e] = sum;
    }
  });
}

inline void wgmma_m64n64k16_bf16(float (&d)[32], std::uint64_t a, std::uint64_t b, int accumulate) {
  multiply<0, 32>(
      d, [a](auto row, auto k) { return k_major(a, row, k); },
      [b](auto column, auto k) { return k_major(b, column, k); }, accumulate);
}

inline void wgmma_m64n64k16_bf16(float (&d)[32], const std::uint32_t (&a)[4], std::uint64_t b,
                                 int accumulate) {
  std::array<std::vector<std::uint32_t>, 4> words;
  for (int i = 0; i < 4; ++i) words[i] = emulated::gather_warp(a[i]);
  multiply<0, 32>(
      d,
      [words](std::uint32_t row, std::uint32_t k) {
        // Words 0, 1: rows lane / 4 and 8 below, k = 2 * (lane % 4) and the next; 2, 3: k + 8.
        const std::uint32_t word = words[row / 8 % 2 + 2 * (k / 8)][row % 8 * 4 + k % 8 / 2];
        return bf16_to_float(static_cast<std::uint16_t>(word >> (16 * (k % 2))));
      },
      [b](auto column, auto k) { return k_major(b, column, k); }, accumulate);
}

template <int kFirst>
void wgmma_m64n128k16_bf16_mn(float (&d)[128], std::uint64_t a, std::uint64_t b, int accumulate) {
  multiply<kFirst, 64>(
      d, [a](auto row, auto k) { return k_major(a, row, k); },
      [b](auto column, auto k) { return mn_major(b, column, k); }, accumulate);
}

// e4m3 operands, both K-major, in dynamic_shared.
inline float e4m3_at(std::uint64_t descriptor, std::uint32_t row, std::uint32_t k) {
  static const auto kValues = [] {
    std::array<float, 256> values{};
    for (int i = 0; i < 256; ++i) values[i] = e4m3_to_float(static_cast<std::uint8_t>(i));
    return values;
  }();
  const std::uint32_t start = (descriptor & 0x3fff) << 4;
  const std::uint32_t stride = (descriptor >> 32 & 0x3fff) << 4;
  const std::uint32_t address = start + row / 8 * stride + row % 8 * 128 + k;
  return kValues[dynamic_shared[address ^ (address >> 7 & 7) << 4]];
}

template <int kN>
void wgmma_e4m3(float (&d)[kN / 2], std::uint64_t a, std::uint64_t b, bool accumulate) {
  multiply<0, kN / 2, 32>(
      d, [a](auto row, auto k) { return e4m3_at(a, row, k); },
      [b](auto column, auto k) { return e4m3_at(b, column, k); }, accumulate ? 1 : 0);
}

}  // namespace dsaperf::kernels::sm90::ptx
