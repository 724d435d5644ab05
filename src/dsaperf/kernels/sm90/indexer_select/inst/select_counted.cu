#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/indexer_select/select_counted.cuh"

#include <cuda_runtime.h>

namespace dsaperf::kernels::sm90 {

// The requests stand in the line of tiles alike for 32 and 64 heads.
using CountedConfig =
    ScoresConfig<64, 64, false, true, true, Leaves::kCounted, false, kCountingCtas>;

cudaError_t launch_select_counted(const SelectCountedArguments& arguments, int cluster,
                                  cudaStream_t stream) {
  constexpr auto kKernel = select_counted_kernel<CountedConfig>;
  constexpr std::size_t kFixedBytes = sizeof(CountedShared) + kSelectListed * sizeof(Candidate);
  constexpr std::size_t kMostBytes = kFixedBytes + kSelectCountedMostWindow / 8;
  static_assert(2 * (kMostBytes + 1024) <= 228 * 1024);
  static_assert(kSelectCountedMostWindow % kSliceUnit == 0);
  const cudaError_t status =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kMostBytes);
  if (status != cudaSuccess) return status;
  const EarlyLaunch launch(dim3(static_cast<unsigned>(arguments.requests * cluster)),
                           kSelectCountedThreads,
                           kFixedBytes + static_cast<std::size_t>(arguments.window) / 8, stream,
                           cluster > 1 ? cluster : 0);
  return cudaLaunchKernelEx(launch.config(), kKernel, arguments);
}

}  // namespace dsaperf::kernels::sm90
