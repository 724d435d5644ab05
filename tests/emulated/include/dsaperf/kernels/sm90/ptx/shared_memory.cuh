#pragma once

#include "emulated_cuda.hpp"

// The instructions of the file of this name under src, on emulated CTAs.
namespace dsaperf::kernels::sm90::ptx {

inline uint4 load_shared_16(std::uint32_t address) {
  return *static_cast<uint4*>(emulated::own_pointer_of(address));
}
inline void store_shared_16(std::uint32_t address, const uint4& value) {
  *static_cast<uint4*>(emulated::own_pointer_of(address)) = value;
}

}  // namespace dsaperf::kernels::sm90::ptx
