#pragma once

#include "dsaperf/capi/execution.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/topk.hpp"

// The stages that have a kernel on the GPU. Without a GPU part each says kUnsupported, as does
// every other stage by no_gpu().
namespace dsaperf::capi {

struct NoGpu {
  const char* stage;
  template <typename Params>
  Result<void> operator()(const Params&, const Execution&) const {
    return fail(Errc::kUnsupported, "{}: this library runs it on the CPU only", stage);
  }
  template <typename Params>
  Result<std::size_t> operator()(const Params&) const {
    return fail(Errc::kUnsupported, "{}: this library runs it on the CPU only", stage);
  }
};

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
