#include "dsaperf/kernels/sm90/sparse_mla/launch.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template cudaError_t launch<KvRows::Format::kFp8, 2>(const SparseMlaParams&, const Shape&,
                                                     cudaStream_t);
template cudaError_t resident_clusters<KvRows::Format::kFp8, 2>(int, int*);

}  // namespace dsaperf::kernels::sm90::sparse_mla
