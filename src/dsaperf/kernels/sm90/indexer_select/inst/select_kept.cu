#include "dsaperf/kernels/sm90/indexer_select/select_kept.cuh"

#include <cuda_runtime.h>

namespace dsaperf::kernels::sm90 {

// The requests stand in the line of tiles alike for 32 and 64 heads.
using KeptConfig = ScoresConfig<64, 64, false, true, true, Leaves::kKept>;

cudaError_t launch_select_kept(const SelectKeptArguments& arguments, cudaStream_t stream) {
  constexpr auto kKernel = select_kept_kernel<KeptConfig>;
  static_assert(sizeof(KeptShared) + kSelectListed * sizeof(Candidate) +
                    kSelectKeptMostWindow / 8 <=
                kTopkMaxShared);
  const cudaError_t status =
      cudaFuncSetAttribute(kKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kTopkMaxShared);
  if (status != cudaSuccess) return status;
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(arguments.requests));
  config.blockDim = dim3(kSelectKeptThreads);
  config.dynamicSmemBytes = sizeof(KeptShared) + kSelectListed * sizeof(Candidate) +
                            static_cast<std::size_t>(arguments.window) / 8;
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, kKernel, arguments);
}

}  // namespace dsaperf::kernels::sm90
