#pragma once

#include "emulated_cuda.hpp"

// Addresses only: what waits on barriers of transactions is not emulated.
namespace dsaperf::kernels::sm90::ptx {

inline std::uint32_t shared_address(const void* pointer) {
  return emulated::shared_address(pointer);
}
inline std::uint32_t cluster_address(std::uint32_t address, std::uint32_t rank) {
  return emulated::cluster_address(address, rank);
}

}  // namespace dsaperf::kernels::sm90::ptx
