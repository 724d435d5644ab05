#pragma once

#include "dsaperf/kernels/sm90/ptx/copy.cuh"

// The instructions of the file of this name under src, on emulated CTAs. Of prefill's alone: not
// emulated.
namespace dsaperf::kernels::sm90::ptx {

inline void tensor_load_1d(std::uint32_t, const CUtensorMap*, std::uint32_t, int) {
  std::abort();
}

}  // namespace dsaperf::kernels::sm90::ptx
