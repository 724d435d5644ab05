#include "dsaperf/kernels/sm90/fp8_gemm/few_rows.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_fp8_few_rows<32>(const Fp8GemmArguments&, int,
                                                                     cudaStream_t);
