#include "dsaperf/kernels/sm90/fp8_gemm/many_rows.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_fp8_many_rows<256>(const Fp8GemmArguments&, int,
                                                                       cudaStream_t);
