#include "dsaperf/kernels/rows/cache.cuh"
#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {

cudaError_t launch(const KvCacheWriteParams& params, cudaStream_t stream) {
  const auto kernel =
      has_whole_rows(params) ? kv_cache_write_kernel<true> : kv_cache_write_kernel<false>;
  return launch_beside(kernel, grid_size(params.tokens * kParts, kPartsAtOnce), kCacheThreads,
                       stream, params);
}

cudaError_t launch(const IndexKeyCacheWriteParams& params, cudaStream_t stream) {
  const auto kernel = has_whole_rows(params) ? index_key_cache_write_kernel<true>
                                             : index_key_cache_write_kernel<false>;
  return launch_beside(kernel, grid_size(params.tokens, kKeysAtOnce), kCacheThreads, stream,
                       params);
}

cudaError_t launch(const GatherIndexKeysParams& params, cudaStream_t stream) {
  const auto kernel =
      has_whole_rows(params) ? gather_index_keys_kernel<true> : gather_index_keys_kernel<false>;
  return launch_beside(kernel, grid_size(params.tokens, kKeysAtOnce), kCacheThreads, stream,
                       params);
}

cudaError_t launch(const RowsToBf16Params& params, cudaStream_t stream) {
  return launch_beside(rows_to_bf16_kernel, grid_size(params.page_count, 1), kCacheThreads, stream,
                       params);
}

cudaError_t launch(const SelectionRowsParams& params, cudaStream_t stream) {
  const bool wide = has_whole_rows(params);
  const auto kernel = wide ? selection_rows_kernel<true> : selection_rows_kernel<false>;
  const std::int64_t threads = params.tokens * params.topk / (wide ? 4 : 1);
  return launch_beside(kernel, grid_size(threads, kCacheThreads), kCacheThreads, stream, params);
}

}  // namespace dsaperf::kernels::rows
