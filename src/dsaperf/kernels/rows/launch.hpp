#pragma once

#include "dsaperf/kernels/cache_read.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/norm_rope.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"

#include <cuda_runtime_api.h>

// The stages that work row by row: each moves its bytes once and computes little. Parameters are
// checked by the caller and not empty.
namespace dsaperf::kernels::rows {

cudaError_t launch(const RmsNormParams& params, cudaStream_t stream);
cudaError_t launch(const LayerNormParams& params, cudaStream_t stream);
cudaError_t launch(const RopeParams& params, cudaStream_t stream);
cudaError_t launch(const QuantiseGroupsParams& params, cudaStream_t stream);
cudaError_t launch(const IndexerQuantiseParams& params, cudaStream_t stream);
cudaError_t launch(const IndexerQuantiseParams& first, const IndexerQuantiseParams& second,
                   cudaStream_t stream);
cudaError_t launch(const NormRopeParams& params, cudaStream_t stream);
cudaError_t launch(const IndexerNormRopeParams& params, cudaStream_t stream);
cudaError_t launch(const IndexKeyWriteParams& params, cudaStream_t stream);
cudaError_t launch(const KvCacheWriteParams& params, cudaStream_t stream);
cudaError_t launch(const IndexKeyCacheWriteParams& params, cudaStream_t stream);
cudaError_t launch(const GatherIndexKeysParams& params, cudaStream_t stream);
cudaError_t launch(const RowsToBf16Params& params, cudaStream_t stream);
cudaError_t launch(const SelectionRowsParams& params, cudaStream_t stream);

}  // namespace dsaperf::kernels::rows
