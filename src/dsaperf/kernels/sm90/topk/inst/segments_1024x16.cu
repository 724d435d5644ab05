#include "dsaperf/kernels/sm90/topk/launch.cuh"

template cudaError_t
dsaperf::kernels::sm90::launch_spread_topk<1024, 16, dsaperf::kernels::sm90::SpreadRows::kSegments>(
    const TopkArguments&, int, bool, cudaStream_t);
