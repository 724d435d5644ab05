#pragma once

#include "emulated_cuda.hpp"

// The instructions of the file of this name under src, on emulated CTAs.
namespace dsaperf::kernels::sm90::ptx {

inline void cluster_sync() {
  emulated::sync_cluster();
}
inline std::uint32_t cluster_rank() {
  return emulated::cluster_rank();
}
inline std::uint32_t cluster_size() {
  return emulated::cluster_size();
}
inline void wait_for_previous_grid() {
}
inline void launch_next_grid() {
}
inline float exp2_approximate(float x) {
  return std::exp2(x);
}

}  // namespace dsaperf::kernels::sm90::ptx
