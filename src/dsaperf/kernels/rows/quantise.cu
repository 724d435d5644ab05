#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/quantise.cuh"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {
namespace {

template <bool kWhole>
cudaError_t launch_groups(const QuantiseGroupsParams& params, cudaStream_t stream) {
  const std::int64_t groups = params.rows * ((params.dim + kQuantGroup - 1) / kQuantGroup);
  if (exceeds_gpu(groups, kGroupsAtOnce)) {
    constexpr int kTimes = 4;
    return launch_beside(quantise_groups_kernel<kWhole, kTimes>,
                         grid_size(groups, kTimes * kGroupsAtOnce), kQuantiseThreads, stream,
                         params);
  }
  return launch_beside(quantise_groups_kernel<kWhole, 1>, grid_size(groups, kGroupsAtOnce),
                       kQuantiseThreads, stream, params);
}

template <bool kWhole>
cudaError_t launch_index_rows(const IndexerQuantiseParams& first,
                              const IndexerQuantiseParams& second, cudaStream_t stream) {
  constexpr int kTimes = 2;
  const bool many = exceeds_gpu(first.rows + second.rows, kIndexRowsAtOnce);
  const int per_cta = kIndexRowsAtOnce * (many ? kTimes : 1);
  const unsigned first_blocks = grid_size(first.rows, per_cta);
  const unsigned blocks = first_blocks + grid_size(second.rows, per_cta);
  const auto kernel =
      many ? indexer_quantise_kernel<kWhole, kTimes> : indexer_quantise_kernel<kWhole, 1>;
  return launch_beside(kernel, blocks, kQuantiseThreads, stream, first, second, first_blocks);
}

}  // namespace

cudaError_t launch(const QuantiseGroupsParams& params, cudaStream_t stream) {
  return has_whole_rows(params) ? launch_groups<true>(params, stream)
                                : launch_groups<false>(params, stream);
}

cudaError_t launch(const IndexerQuantiseParams& params, cudaStream_t stream) {
  return launch(params, {}, stream);
}

cudaError_t launch(const IndexerQuantiseParams& first, const IndexerQuantiseParams& second,
                   cudaStream_t stream) {
  return has_whole_rows(first) && has_whole_rows(second)
             ? launch_index_rows<true>(first, second, stream)
             : launch_index_rows<false>(first, second, stream);
}

}  // namespace dsaperf::kernels::rows
