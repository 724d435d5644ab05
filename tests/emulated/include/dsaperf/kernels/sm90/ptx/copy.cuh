#pragma once

#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "emulated_cuda.hpp"

#include <cuda.h>

// The instructions of the file of this name under src, on emulated CTAs. What the copy engine
// copies arrives at any time until the thread that asked for it ends.
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
inline std::uint64_t policy_evict_first(float fraction = 1) {
  if (!(fraction > 0 && fraction <= 1)) std::abort();
  return 0;
}
inline void prefetch_l2(const void*) {
}
inline void touch_l1(const std::int32_t* source) {
  [[maybe_unused]] const volatile std::int32_t value = *source;
}
inline void prefetch_tensor_map(const CUtensorMap*) {
}

inline void bulk_load(std::uint32_t destination, const void* source, std::uint32_t bytes,
                      std::uint32_t barrier) {
  if (bytes % 16 != 0 || reinterpret_cast<std::uintptr_t>(source) % 16 != 0 ||
      destination % 16 != 0)
    std::abort();
  auto* to = static_cast<std::uint8_t*>(emulated::own_pointer_of(destination));
  emulated::copy_later([=] {
    std::memcpy(to, source, bytes);
    mbarrier_complete_tx(barrier, bytes);
  });
}

// Rows outside the tensor arrive as zeros. The box is whole in its first dimension.
inline void tensor_load_3d(std::uint32_t destination, const CUtensorMap* map, std::uint32_t barrier,
                           int x, int y, int z, std::uint64_t /*policy*/ = 0) {
  if (x != 0 || destination % 1024 != 0) std::abort();
  emulated::copy_later([=, map = *map] {  // the kernel's argument may be gone by then
    for (int row = 0; row < map.box_rows; ++row) {
      const std::uint8_t* source = map.base + z * map.plane_bytes + (y + row) * std::int64_t{128};
      for (std::uint32_t byte = 0; byte < 128; ++byte) {
        const std::uint32_t at = destination + static_cast<std::uint32_t>(row) * 128 + byte;
        *static_cast<std::uint8_t*>(emulated::own_pointer_of(at ^ (at >> 7 & 7) << 4)) =
            y + row < map.rows ? source[byte] : 0;
      }
    }
    mbarrier_complete_tx(barrier, static_cast<std::uint32_t>(map.box_rows) * 128);
  });
}
inline void tensor_load_2d(std::uint32_t destination, const CUtensorMap* map, std::uint32_t barrier,
                           int x, int y) {
  tensor_load_3d(destination, map, barrier, x, y, 0);
}
inline void fence_async_shared() {
}

}  // namespace dsaperf::kernels::sm90::ptx
