#pragma once

#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/fp8_gemm/launch.hpp"

namespace dsaperf::kernels::sm90 {

using Fp8GemmKernel = void (*)(Fp8GemmArguments);

// `kernel`, which waits itself for the grid before it, in clusters of `ctas` CTAs along x, with
// `shared_bytes` of dynamic shared memory.
inline cudaError_t launch_in_clusters(Fp8GemmKernel kernel, const Fp8GemmArguments& arguments,
                                      dim3 grid, int threads, int ctas, int shared_bytes,
                                      cudaStream_t stream) {
  if (const auto code =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes);
      code != cudaSuccess) {
    return code;
  }
  const EarlyLaunch launch(grid, threads, static_cast<std::size_t>(shared_bytes), stream, ctas);
  return cudaLaunchKernelEx(launch.config(), kernel, arguments);
}

}  // namespace dsaperf::kernels::sm90
