#pragma once

#include "dsaperf/kernels/early_launch.hpp"

#include <cuda_runtime.h>

#include <cstdint>

namespace dsaperf::kernels::rows {

// CTAs for `work` items at `per_cta` each. Kernels stride over what is left, so the cap only keeps
// the grid within what the hardware takes.
inline unsigned grid_size(std::int64_t work, std::int64_t per_cta) {
  constexpr std::int64_t kMost = std::int64_t{1} << 20;
  const std::int64_t wanted = (work + per_cta - 1) / per_cta;
  return static_cast<unsigned>(wanted < kMost ? wanted : kMost);
}

// Whether `work` items at `per_cta` each are more CTAs of 256 threads than an H100 or H200 holds at
// once (8 on each of 132 SMs): then a thread does better to load for several items before it works
// on the first.
inline bool exceeds_gpu(std::int64_t work, std::int64_t per_cta) {
  return work / per_cta > 8 * 132;
}

// Launches a kernel that begins with begin_beside_previous_grid (programmatic dependent launch):
// the 1 ... 2 us of a launch stand beside the end of the grid before it.
template <typename... Parameters, typename... Arguments>
cudaError_t launch_beside(void (*kernel)(Parameters...), unsigned ctas, int threads,
                          cudaStream_t stream, const Arguments&... arguments) {
  const EarlyLaunch launch(dim3(ctas), threads, 0, stream);
  return cudaLaunchKernelEx(launch.config(), kernel, arguments...);
}

}  // namespace dsaperf::kernels::rows
