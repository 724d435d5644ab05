#pragma once

#include "dsaperf/capi/execution.hpp"
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/topk.hpp"

// The stages on the GPU: on the caller's stream, nothing allocated, nothing waited for. A library
// that was built without its GPU part says kUnsupported.
namespace dsaperf::capi {

#if DSAPERF_WITH_CUDA
inline constexpr bool kHasGpuPart = true;
#else
inline constexpr bool kHasGpuPart = false;
#endif

tl::unexpected<Error> no_gpu_part();

// A stage that needs the stream alone: OnStream<kernels::rope>.
template <auto kLaunch>
struct OnStream {
  template <typename Params>
  Result<void> operator()(const Params& params, const Execution& where) const {
    if constexpr (kHasGpuPart) return kLaunch(params, where.stream);
    return no_gpu_part();
  }
};

struct NoWorkspace {
  template <typename Params>
  Result<std::size_t> operator()(const Params&) const {
    if constexpr (kHasGpuPart) return std::size_t{0};
    return no_gpu_part();
  }
};

Result<void> gpu_gemm(const kernels::GemmParams& params, const Execution& where);
Result<std::size_t> gpu_gemm_workspace(const kernels::GemmParams& params);
Result<void> gpu_indexer_scores(const kernels::IndexerScoresParams& params, const Execution& where);
Result<void> gpu_paged_indexer_scores(const kernels::PagedIndexerScoresParams& params,
                                      const Execution& where);
Result<std::size_t> gpu_paged_indexer_scores_workspace(
    const kernels::PagedIndexerScoresParams& params);
Result<void> gpu_topk(const kernels::TopkParams& params, const Execution& where);
Result<std::size_t> gpu_topk_workspace(const kernels::TopkParams& params);
Result<void> gpu_sparse_mla(const kernels::SparseMlaParams& params, bool decode,
                            const Execution& where);
Result<std::size_t> gpu_sparse_mla_workspace(const kernels::SparseMlaParams& params, bool decode);

}  // namespace dsaperf::capi
