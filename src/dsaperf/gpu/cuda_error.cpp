#include "dsaperf/gpu/cuda_error.hpp"

#include <fmt/format.h>

namespace dsaperf::gpu {

Error cuda_error(cudaError_t code, const char* call, std::source_location where) {
  cudaGetLastError();
  const Errc errc = code == cudaErrorMemoryAllocation ? Errc::kOutOfMemory : Errc::kCuda;
  return Error(errc,
               fmt::format("{}: {} ({}:{}: {})", cudaGetErrorName(code), cudaGetErrorString(code),
                           where.file_name(), where.line(), call),
               where);
}

}  // namespace dsaperf::gpu
