#include "dsaperf/kernels/sm90/topk/launch.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_short_topk<512, 16>(const TopkArguments&, bool,
                                                                        cudaStream_t);
