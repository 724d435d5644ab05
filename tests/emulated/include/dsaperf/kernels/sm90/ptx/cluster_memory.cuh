#pragma once

#include "emulated_cuda.hpp"

#include <atomic>

// The instructions of the file of this name under src, on emulated CTAs.
namespace dsaperf::kernels::sm90::ptx {

inline std::uint32_t load_cluster_u32(std::uint32_t address) {
  return *static_cast<std::uint32_t*>(emulated::pointer_of(address));
}
inline void store_cluster_u32(std::uint32_t address, std::uint32_t value) {
  *static_cast<std::uint32_t*>(emulated::pointer_of(address)) = value;
}
inline void add_cluster_u32(std::uint32_t address, std::uint32_t value) {
  // The CTAs of a cluster run in threads of their own.
  std::atomic_ref(*static_cast<std::uint32_t*>(emulated::pointer_of(address))).fetch_add(value);
}
inline void cluster_arrive() {
  emulated::arrive_cluster();
}
inline void cluster_wait() {
  emulated::wait_cluster();
}
inline uint2 load_cluster_u32x2(std::uint32_t address) {
  return *static_cast<uint2*>(emulated::pointer_of(address));
}

}  // namespace dsaperf::kernels::sm90::ptx
