#include "dsaperf/kernels/sm90/indexer_scores/launch.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_paged_scores<16, 64, false>(
    const ScoresArguments&, int, cudaStream_t);
