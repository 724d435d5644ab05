#pragma once

#include "dsaperf/core/error.hpp"

#include <cuda_runtime_api.h>

#include <source_location>

namespace dsaperf::gpu {

// The error of a failed runtime call: its text, CUDA's name for it and its sentence. Clears the
// runtime's sticky error, so that the next call is judged on its own. Out of memory is
// kOutOfMemory, everything else kCuda.
Error cuda_error(cudaError_t code, const char* call,
                 std::source_location where = std::source_location::current());

}  // namespace dsaperf::gpu

// DSAPERF_CUDA_TRY(cudaEventRecord(start, stream)): returns the call's error, if any, from the
// enclosing function, which returns a Result.
#define DSAPERF_CUDA_TRY(...)                                                        \
  do {                                                                               \
    if (const cudaError_t dsaperf_code = (__VA_ARGS__); dsaperf_code != cudaSuccess) \
      return ::tl::unexpected<::dsaperf::Error>(                                     \
          ::dsaperf::gpu::cuda_error(dsaperf_code, #__VA_ARGS__));                   \
  } while (false)
