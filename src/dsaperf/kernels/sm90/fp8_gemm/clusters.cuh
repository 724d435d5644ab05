#pragma once

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
  cudaLaunchAttribute attributes[2] = {};
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim = {static_cast<unsigned>(ctas), 1, 1};
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = grid;
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = 2;
  return cudaLaunchKernelEx(&config, kernel, arguments);
}

}  // namespace dsaperf::kernels::sm90
