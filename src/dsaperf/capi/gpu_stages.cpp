#include "dsaperf/capi/gpu_stages.hpp"

#if DSAPERF_WITH_CUDA
#include "dsaperf/gpu/device.hpp"
#include "dsaperf/kernels/gemm_gpu.hpp"
#endif

namespace dsaperf::capi {

tl::unexpected<Error> no_gpu_part() {
  return fail(Errc::kUnsupported, "this library was built without its GPU part");
}

#if DSAPERF_WITH_CUDA

Result<void> gpu_gemm(const kernels::GemmParams& params, const Execution& where) {
  return kernels::gemm(params, where.workspace, where.workspace_size, where.stream);
}

Result<std::size_t> gpu_gemm_workspace(const kernels::GemmParams& params) {
  return kernels::gemm_workspace(params);
}

Result<void> gpu_indexer_scores(const kernels::IndexerScoresParams& params,
                                const Execution& where) {
  return kernels::indexer_scores(params, where.stream);
}

Result<void> gpu_paged_indexer_scores(const kernels::PagedIndexerScoresParams& params,
                                      const Execution& where) {
  return kernels::paged_indexer_scores(params, where.workspace, where.workspace_size, where.stream);
}

Result<std::size_t> gpu_paged_indexer_scores_workspace(
    const kernels::PagedIndexerScoresParams& params) {
  DSAPERF_TRY_ASSIGN(const int sms, gpu::current_sm_count());
  return kernels::paged_indexer_scores_workspace(params, sms);
}

Result<void> gpu_topk(const kernels::TopkParams& params, const Execution& where) {
  return kernels::topk(params, where.workspace, where.workspace_size, where.stream);
}

Result<std::size_t> gpu_topk_workspace(const kernels::TopkParams& params) {
  DSAPERF_TRY_ASSIGN(const int sms, gpu::current_sm_count());
  return kernels::topk_workspace(params, sms);
}

Result<void> gpu_sparse_mla(const kernels::SparseMlaParams& params, bool decode,
                            const Execution& where) {
  return decode ? kernels::sparse_mla_decode(params, where.workspace, where.workspace_size,
                                             where.stream)
                : kernels::sparse_mla_prefill(params, where.stream);
}

Result<std::size_t> gpu_sparse_mla_workspace(const kernels::SparseMlaParams& params, bool decode) {
  if (!decode) return 0;
  DSAPERF_TRY_ASSIGN(const int sms, gpu::current_sm_count());
  return kernels::sparse_mla_decode_workspace(params, sms);
}

#else

Result<void> gpu_gemm(const kernels::GemmParams&, const Execution&) {
  return no_gpu_part();
}
Result<std::size_t> gpu_gemm_workspace(const kernels::GemmParams&) {
  return no_gpu_part();
}
Result<void> gpu_indexer_scores(const kernels::IndexerScoresParams&, const Execution&) {
  return no_gpu_part();
}
Result<void> gpu_paged_indexer_scores(const kernels::PagedIndexerScoresParams&, const Execution&) {
  return no_gpu_part();
}
Result<std::size_t> gpu_paged_indexer_scores_workspace(const kernels::PagedIndexerScoresParams&) {
  return no_gpu_part();
}
Result<void> gpu_topk(const kernels::TopkParams&, const Execution&) {
  return no_gpu_part();
}
Result<std::size_t> gpu_topk_workspace(const kernels::TopkParams&) {
  return no_gpu_part();
}
Result<void> gpu_sparse_mla(const kernels::SparseMlaParams&, bool, const Execution&) {
  return no_gpu_part();
}
Result<std::size_t> gpu_sparse_mla_workspace(const kernels::SparseMlaParams&, bool) {
  return no_gpu_part();
}

#endif

}  // namespace dsaperf::capi
