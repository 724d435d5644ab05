#include "dsaperf/kernels/early_launch.hpp"
#include "dsaperf/kernels/sm90/indexer_select/select_kept.cuh"

#include <cuda_runtime.h>

namespace dsaperf::kernels::sm90 {

// The requests stand in the line of tiles alike for 32 and 64 heads.
using KeptConfig = ScoresConfig<64, 64, false, true, true, Leaves::kKept>;

cudaError_t launch_select_kept(const SelectKeptArguments& arguments, cudaStream_t stream) {
  constexpr auto kKernel = select_kept_kernel<KeptConfig>;
  constexpr std::size_t kFixedBytes = sizeof(KeptShared) + kSelectListed * sizeof(Candidate);
  static_assert(kFixedBytes + kSelectKeptMostWindow / 8 <= kTopkMaxShared);
  const cudaError_t status =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTopkMaxShared);
  if (status != cudaSuccess) return status;
  const EarlyLaunch launch(dim3(static_cast<unsigned>(arguments.requests)), kSelectKeptThreads,
                           kFixedBytes + static_cast<std::size_t>(arguments.window) / 8, stream);
  return cudaLaunchKernelEx(launch.config(), kKernel, arguments);
}

}  // namespace dsaperf::kernels::sm90
