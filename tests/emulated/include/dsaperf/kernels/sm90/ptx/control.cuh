#pragma once

#include "emulated_cuda.hpp"

#include <atomic>

// The instructions of the file of this name under src, on emulated CTAs.
namespace dsaperf::kernels::sm90::ptx {

template <int kRegisters, int kBefore>
void change_registers() {
}

template <int kRegisters>
void more_registers() {
}
template <int kRegisters>
void fewer_registers() {
}

inline void named_barrier_sync(int id, int threads) {
  emulated::sync_named(id, threads);
}
inline bool named_barrier_any(int id, int threads, bool value) {
  return emulated::any_named(id, threads, value);
}
inline bool elect_one() {
  __syncwarp();
  return threadIdx.x % 32 == 0;
}
inline void cluster_sync() {
  emulated::sync_cluster();
}
inline std::uint32_t cluster_rank() {
  return emulated::cluster_rank();
}
inline std::uint32_t cluster_size() {
  return emulated::cluster_size();
}
inline float4 load_cluster_f32x4(std::uint32_t address) {
  return *static_cast<float4*>(emulated::pointer_of(address));
}
inline void store_cluster_f32x2(std::uint32_t address, float a, float b) {
  *static_cast<float2*>(emulated::pointer_of(address)) = {a, b};
}
inline void wait_for_previous_grid() {
}
inline void launch_next_grid() {
}
inline void store_release(std::uint32_t* word, std::uint32_t value) {
  std::atomic_ref(*word).store(value, std::memory_order_release);
}
inline std::uint32_t load_acquire(const std::uint32_t* word) {
  return std::atomic_ref(*const_cast<std::uint32_t*>(word)).load(std::memory_order_acquire);
}
inline float exp2_approximate(float x) {
  return std::exp2(x);
}

inline void stmatrix_x4(std::uint32_t address, std::uint32_t a, std::uint32_t b, std::uint32_t c,
                        std::uint32_t d) {
  const auto rows = emulated::gather_warp(address);
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t words[4] = {a, b, c, d};
  for (std::uint32_t matrix = 0; matrix < 4; ++matrix)
    *static_cast<std::uint32_t*>(
        emulated::own_pointer_of(rows[8 * matrix + lane / 4] + 4 * (lane % 4))) = words[matrix];
}
inline void ldmatrix_x4(std::uint32_t address, std::uint32_t (&words)[4]) {
  const auto rows = emulated::gather_warp(address);
  const std::uint32_t lane = threadIdx.x % 32;
  for (std::uint32_t matrix = 0; matrix < 4; ++matrix)
    words[matrix] = *static_cast<std::uint32_t*>(
        emulated::own_pointer_of(rows[8 * matrix + lane / 4] + 4 * (lane % 4)));
}

inline std::uint32_t max_bf16x2(std::uint32_t a, std::uint32_t b) {
  const auto larger = [](std::uint32_t x, std::uint32_t y) {  // one value each, in the upper half
    return std::bit_cast<std::uint32_t>(
        std::fmax(std::bit_cast<float>(x), std::bit_cast<float>(y)));
  };
  constexpr std::uint32_t kUpper = 0xffff0000;
  return (larger(a & kUpper, b & kUpper) & kUpper) | larger(a << 16, b << 16) >> 16;
}

}  // namespace dsaperf::kernels::sm90::ptx
