#include "dsaperf/kernels/sm90/sparse_mla/launch.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template cudaError_t launch_parts<KvRows::Format::kFp8, 2>(const SparseMlaParams&, int, void*, int,
                                                           cudaStream_t);

}  // namespace dsaperf::kernels::sm90::sparse_mla
