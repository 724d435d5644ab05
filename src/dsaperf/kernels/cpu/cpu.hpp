#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/gemm.hpp"
#include "dsaperf/kernels/indexer_scores.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"
#include "dsaperf/kernels/sparse_mla.hpp"
#include "dsaperf/kernels/topk.hpp"

// The stages in f32 on the host's cores, quick enough for a layer of real size. Host pointers, the
// same parameters and checks as the references. Matrix products are OpenBLAS's, one thread each;
// the work is split over `threads` here. Results agree with the references up to the order of f32
// additions; top-k, formats and gathers are exact.
namespace dsaperf::kernels::cpu {

// Cores this process may use.
int available_threads();

Result<void> gemm(const GemmParams& params, int threads);
Result<void> fp8_gemm(const Fp8GemmParams& params, int threads);
Result<void> rope(const RopeParams& params, int threads);
Result<void> indexer_quantise(const IndexerQuantiseParams& params, int threads);
Result<void> kv_cache_write(const KvCacheWriteParams& params, int threads);
Result<void> indexer_scores(const IndexerScoresParams& params, int threads);
Result<void> paged_indexer_scores(const PagedIndexerScoresParams& params, int threads);
Result<void> topk(const TopkParams& params, int threads);
Result<void> sparse_mla(const SparseMlaParams& params, int threads);

}  // namespace dsaperf::kernels::cpu
