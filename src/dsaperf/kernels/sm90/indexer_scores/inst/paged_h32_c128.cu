#include "dsaperf/kernels/sm90/indexer_scores/launch.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_paged_scores<32, 128, false>(
    const ScoresArguments&, int, cudaStream_t);
