#include "dsaperf/kernels/sm90/sparse_mla/launch.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

template cudaError_t launch<KvRows::Format::kBf16, 1>(const SparseMlaParams&, const Shape&,
                                                      cudaStream_t);
template cudaError_t resident_clusters<KvRows::Format::kBf16, 1>(int, int*);

}  // namespace dsaperf::kernels::sm90::sparse_mla
