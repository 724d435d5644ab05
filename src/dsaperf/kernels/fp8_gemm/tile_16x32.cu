#include "dsaperf/kernels/fp8_gemm/kernel.cuh"

namespace dsaperf::kernels::block_scaled {

template cudaError_t launch_tile<16, 32>(const Fp8GemmParams&, cudaStream_t);

}  // namespace dsaperf::kernels::block_scaled
