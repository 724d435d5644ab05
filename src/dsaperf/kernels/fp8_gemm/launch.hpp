#pragma once

#include "dsaperf/kernels/gemm.hpp"

#include <cuda_runtime_api.h>

namespace dsaperf::kernels::block_scaled {

cudaError_t launch(const Fp8GemmParams& params, cudaStream_t stream);

// One tile size; launch() picks by m and n.
template <int kTileM, int kTileN>
cudaError_t launch_tile(const Fp8GemmParams& params, cudaStream_t stream);

}  // namespace dsaperf::kernels::block_scaled
