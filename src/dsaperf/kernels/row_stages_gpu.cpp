#include "dsaperf/core/fail.hpp"
#include "dsaperf/gpu/cuda_error.hpp"
#include "dsaperf/kernels/norm_rope.hpp"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/whole_rows.hpp"

// The GPU entry points of the stages that work row by row: the same checks as the reference, then a
// launch.
namespace dsaperf::kernels {
namespace {

template <typename Params>
Result<void> launched(const Params& params, std::int64_t work, CUstream_st* stream) {
  if (work == 0) return {};
  DSAPERF_CUDA_TRY(rows::launch(params, stream));
  return {};
}

}  // namespace

Result<void> rms_norm(const RmsNormParams& params, CUstream_st* stream) {
  DSAPERF_TRY(rms_norm_check(params));
  return launched(params, params.rows * params.dim, stream);
}

Result<void> layer_norm(const LayerNormParams& params, CUstream_st* stream) {
  DSAPERF_TRY(layer_norm_check(params));
  return launched(params, params.rows * params.dim, stream);
}

Result<void> rope(const RopeParams& params, CUstream_st* stream) {
  DSAPERF_TRY(rope_check(params));
  return launched(params, params.tokens * params.heads * params.dim, stream);
}

Result<void> quantise_groups(const QuantiseGroupsParams& params, CUstream_st* stream) {
  DSAPERF_TRY(quantise_groups_check(params));
  return launched(params, params.rows * params.dim, stream);
}

Result<void> indexer_quantise(const IndexerQuantiseParams& params, CUstream_st* stream) {
  DSAPERF_TRY(indexer_quantise_check(params));
  return launched(params, params.rows, stream);
}

Result<void> indexer_quantise_both(const IndexerQuantiseParams& queries,
                                   const IndexerQuantiseParams& keys, CUstream_st* stream) {
  DSAPERF_TRY(indexer_quantise_check(queries));
  DSAPERF_TRY(indexer_quantise_check(keys));
  if (queries.rows + keys.rows == 0) return {};
  DSAPERF_CUDA_TRY(rows::launch(queries, keys, stream));
  return {};
}

Result<void> norm_rope(const NormRopeParams& params, CUstream_st* stream) {
  DSAPERF_TRY(norm_rope_check(params));
  return launched(params, params.query.rows, stream);
}

Result<void> indexer_norm_rope(const IndexerNormRopeParams& params, CUstream_st* stream) {
  DSAPERF_TRY(indexer_norm_rope_check(params));
  return launched(params, params.key_norm.rows, stream);
}

Result<void> index_key_write(const IndexKeyWriteParams& params, CUstream_st* stream) {
  DSAPERF_TRY(index_key_write_check(params));
  return launched(params, params.norm.rows, stream);
}

Result<void> kv_cache_write(const KvCacheWriteParams& params, CUstream_st* stream) {
  DSAPERF_TRY(kv_cache_write_check(params));
  return launched(params, params.rows == 0 ? 0 : params.tokens, stream);
}

Result<void> index_key_cache_write(const IndexKeyCacheWriteParams& params, CUstream_st* stream) {
  DSAPERF_TRY(index_key_cache_write_check(params));
  return launched(params, params.page_count == 0 ? 0 : params.tokens, stream);
}

Result<void> gather_index_keys(const GatherIndexKeysParams& params, CUstream_st* stream) {
  DSAPERF_TRY(gather_index_keys_check(params));
  return launched(params, params.tokens, stream);
}

Result<void> rows_to_bf16(const RowsToBf16Params& params, CUstream_st* stream) {
  DSAPERF_TRY(rows_to_bf16_check(params));
  if (!rows::has_whole_rows(params))
    return fail(Errc::kInvalidArgument,
                "rows_to_bf16: rows and out must start at multiples of 16 bytes");
  return launched(params, params.cache.rows == 0 ? 0 : params.page_count, stream);
}

Result<void> selection_rows(const SelectionRowsParams& params, CUstream_st* stream) {
  DSAPERF_TRY(selection_rows_check(params));
  return launched(params, params.tokens, stream);
}

}  // namespace dsaperf::kernels
