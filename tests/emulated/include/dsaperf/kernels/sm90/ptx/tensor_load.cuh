#pragma once

#include "dsaperf/kernels/sm90/ptx/copy.cuh"

// The instructions of the file of this name under src, on emulated CTAs.
namespace dsaperf::kernels::sm90::ptx {

// Of floats, of which there are map.rows; those outside arrive as zeros.
inline void tensor_load_1d(std::uint32_t destination, const CUtensorMap* map, std::uint32_t barrier,
                           int x) {
  if (destination % 128 != 0) std::abort();
  emulated::copy_later([=, map = *map] {  // the kernel's argument may be gone by then
    for (int i = 0; i < map.box_rows; ++i) {
      float value = 0;
      if (x + i < map.rows) std::memcpy(&value, map.base + 4 * std::int64_t{x + i}, 4);
      std::memcpy(emulated::own_pointer_of(destination + 4 * static_cast<std::uint32_t>(i)), &value,
                  4);
    }
    mbarrier_complete_tx(barrier, static_cast<std::uint32_t>(map.box_rows) * 4);
  });
}

}  // namespace dsaperf::kernels::sm90::ptx
