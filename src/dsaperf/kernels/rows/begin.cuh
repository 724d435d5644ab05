#pragma once

#include "dsaperf/kernels/sm90/ptx/control.cuh"

namespace dsaperf::kernels::rows {

// First in every kernel of this folder: it is launched while the grid before it ends
// (launch_beside), and waits here for all that grid has written. The one after it may be launched
// from here on.
__device__ inline void begin_beside_previous_grid() {
  sm90::ptx::launch_next_grid();
  sm90::ptx::wait_for_previous_grid();
}

}  // namespace dsaperf::kernels::rows
