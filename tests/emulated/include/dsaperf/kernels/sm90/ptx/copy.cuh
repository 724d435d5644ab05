#pragma once

#include "emulated_cuda.hpp"

// The instructions of the file of this name under src, on emulated CTAs. What the copy engine does
// is not emulated.
namespace dsaperf::kernels::sm90::ptx {

inline void cp_async_16(std::uint32_t destination, const void* source, std::uint32_t source_bytes,
                        std::uint64_t /*policy*/ = 0) {
  auto* to = static_cast<std::uint8_t*>(emulated::own_pointer_of(destination));
  if (source_bytes > 16 || reinterpret_cast<std::uintptr_t>(source) % 16 != 0 ||
      destination % 16 != 0)
    std::abort();
  emulated::copy_later([=] {
    std::memset(to, 0, 16);
    std::memcpy(to, source, source_bytes);
  });
}
inline void cp_async_wait_all() {
  emulated::finish_copies();
}
inline std::uint32_t in_a_register(std::uint32_t address) {
  return address;
}
inline std::uint64_t policy_evict_last() {
  return 0;
}
inline std::uint64_t policy_evict_first() {
  return 0;
}
inline void prefetch_l2(const void*) {
}
inline void fence_async_shared() {
}

}  // namespace dsaperf::kernels::sm90::ptx
