#include "dsaperf/kernels/sm90/indexer_scores/launch.cuh"

template cudaError_t dsaperf::kernels::sm90::launch_counted_scores<32>(const ScoresArguments&, int,
                                                                       cudaStream_t);
