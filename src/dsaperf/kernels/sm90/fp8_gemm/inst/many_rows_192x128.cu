#include "dsaperf/kernels/sm90/fp8_gemm/many_rows.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_fp8_many_rows<3, 1, 128>(
    const Fp8GemmArguments&, int, int, cudaStream_t);
