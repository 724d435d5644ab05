#include "dsaperf/kernels/sm90/topk/launch.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_spread_topk<512, 16>(const TopkArguments&, int,
                                                                         bool, cudaStream_t);
