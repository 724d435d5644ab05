#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/quantise.cuh"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {
namespace {

template <bool kWhole>
void launch_groups(const QuantiseGroupsParams& params, cudaStream_t stream) {
  const std::int64_t groups = params.rows * ((params.dim + kQuantGroup - 1) / kQuantGroup);
  if (exceeds_gpu(groups, kGroupsAtOnce)) {
    constexpr int kTimes = 4;
    quantise_groups_kernel<kWhole, kTimes>
        <<<grid_size(groups, kTimes * kGroupsAtOnce), kQuantiseThreads, 0, stream>>>(params);
  } else {
    quantise_groups_kernel<kWhole, 1>
        <<<grid_size(groups, kGroupsAtOnce), kQuantiseThreads, 0, stream>>>(params);
  }
}

template <bool kWhole>
void launch_index_rows(const IndexerQuantiseParams& first, const IndexerQuantiseParams& second,
                       cudaStream_t stream) {
  constexpr int kTimes = 2;
  const bool many = exceeds_gpu(first.rows + second.rows, kIndexRowsAtOnce);
  const int per_cta = kIndexRowsAtOnce * (many ? kTimes : 1);
  const unsigned first_blocks = grid_size(first.rows, per_cta);
  const unsigned blocks = first_blocks + grid_size(second.rows, per_cta);
  if (many) {
    indexer_quantise_kernel<kWhole, kTimes>
        <<<blocks, kQuantiseThreads, 0, stream>>>(first, second, first_blocks);
  } else {
    indexer_quantise_kernel<kWhole, 1>
        <<<blocks, kQuantiseThreads, 0, stream>>>(first, second, first_blocks);
  }
}

}  // namespace

cudaError_t launch(const QuantiseGroupsParams& params, cudaStream_t stream) {
  if (has_whole_rows(params)) {
    launch_groups<true>(params, stream);
  } else {
    launch_groups<false>(params, stream);
  }
  return cudaGetLastError();
}

cudaError_t launch(const IndexerQuantiseParams& params, cudaStream_t stream) {
  return launch(params, {}, stream);
}

cudaError_t launch(const IndexerQuantiseParams& first, const IndexerQuantiseParams& second,
                   cudaStream_t stream) {
  if (has_whole_rows(first) && has_whole_rows(second)) {
    launch_index_rows<true>(first, second, stream);
  } else {
    launch_index_rows<false>(first, second, stream);
  }
  return cudaGetLastError();
}

}  // namespace dsaperf::kernels::rows
