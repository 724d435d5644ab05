#include "dsaperf/kernels/sm90/sparse_mla/few_heads_launch.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template cudaError_t launch_few_heads<16>(const SparseMlaParams&, int, cudaStream_t);

}  // namespace dsaperf::kernels::sm90::sparse_mla
