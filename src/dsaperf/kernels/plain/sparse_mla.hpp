#pragma once

#include "dsaperf/kernels/sparse_mla.hpp"

#include <cuda_runtime_api.h>

namespace dsaperf::kernels::plain {

inline constexpr int kMaxTopk = 8192;  // scores of one list in 32 KB of shared memory

cudaError_t launch_sparse_mla(const SparseMlaParams& params, cudaStream_t stream);

}  // namespace dsaperf::kernels::plain
