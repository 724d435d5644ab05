#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/tuning.hpp"

#include <cstddef>

struct CUstream_st;

namespace dsaperf::kernels {

struct IndexerScoresParams;
struct PagedIndexerScoresParams;
struct PagedIndexerSelectParams;
struct SparseMlaParams;
struct TopkParams;

// The entry points of the kernels with a variant of the caller's, for tests, measurements and
// tuning. kUnsupported where the variant cannot run the call; results are those of the default
// (attention: up to the order of f32 additions).

TunedShape sparse_mla_shape(const SparseMlaParams& params, TunedKernel kernel);
TunedShape indexer_scores_shape(const IndexerScoresParams& params);
TunedShape paged_indexer_scores_shape(const PagedIndexerScoresParams& params);
TunedShape topk_shape(const TopkParams& params);
TunedShape paged_indexer_select_shape(const PagedIndexerSelectParams& params);

// Device workspace of sparse_mla_variant, 16-byte aligned; 0 for variants that do not split.
std::size_t sparse_mla_variant_workspace(const SparseMlaParams& params, Variant variant,
                                         int sm_count);
Result<void> sparse_mla_variant(const SparseMlaParams& params, Variant variant, void* workspace,
                                std::size_t workspace_size, CUstream_st* stream);
Result<void> indexer_scores_variant(const IndexerScoresParams& params, Variant variant,
                                    CUstream_st* stream);
Result<void> paged_indexer_scores_variant(const PagedIndexerScoresParams& params, Variant variant,
                                          CUstream_st* stream);

// Device workspace of topk_variant, 16-byte aligned; 0 for variants that need none.
std::size_t topk_variant_workspace(const TopkParams& params, Variant variant);
Result<void> topk_variant(const TopkParams& params, Variant variant, void* workspace,
                          std::size_t workspace_size, CUstream_st* stream);

// Device workspace of at most `budget` bytes; 16-byte aligned.
Result<std::size_t> paged_indexer_select_variant_workspace(const PagedIndexerSelectParams& params,
                                                           Variant variant, std::size_t budget);
Result<void> paged_indexer_select_variant(const PagedIndexerSelectParams& params, Variant variant,
                                          void* workspace, std::size_t workspace_size,
                                          CUstream_st* stream);

// What the table of the calling thread's device says; kDefault where there is no table for it. The
// table is read once a device and kept; a table that is there and wrong is an error of every call.
Result<Variant> tuned_variant(const TunedShape& shape);

}  // namespace dsaperf::kernels
