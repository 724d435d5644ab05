#include "dsaperf/kernels/sm90/sparse_mla/combine.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/parts.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

cudaError_t launch_combine(const SparseMlaParams& params, int parts, void* workspace,
                           cudaStream_t stream) {
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(params.tokens * params.heads));
  config.blockDim = dim3(kCombineThreads);
  config.stream = stream;
  config.attrs = &attribute;
  config.numAttrs = 1;
  return cudaLaunchKernelEx(&config, combine_parts_kernel, with_parts(params, parts, workspace));
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
