#pragma once

#include "emulated_cuda.hpp"

// Nothing is copied here: what the copy engine does is not emulated.
namespace dsaperf::kernels::sm90::ptx {

inline void prefetch_l2(const void*) {
}
inline void fence_async_shared() {
}

}  // namespace dsaperf::kernels::sm90::ptx
