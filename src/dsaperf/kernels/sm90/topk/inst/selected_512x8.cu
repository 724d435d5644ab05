#include "dsaperf/kernels/sm90/topk/launch.cuh"

template cudaError_t
dsaperf::kernels::sm90::launch_spread_topk<512, 8, dsaperf::kernels::sm90::SpreadRows::kSelected>(
    const TopkArguments&, int, bool, cudaStream_t);
