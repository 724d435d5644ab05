#include "dsaperf/kernels/sm90/topk/launch.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_topk<1024>(const TopkArguments&, int,
                                                               cudaStream_t);
