#include "dsaperf/kernels/norm_rope.hpp"

#include "dsaperf/core/fail.hpp"
#include "dsaperf/kernels/layout.hpp"

namespace dsaperf::kernels {

Result<void> norm_rope_check(const NormRopeParams& params) {
  const auto& [query, quantised, latent, key] = params;
  DSAPERF_TRY(rms_norm_check(query));
  DSAPERF_TRY(rms_norm_check(latent));
  DSAPERF_TRY(rope_check(key));
  if (latent.rows != query.rows || key.tokens != query.rows)
    return fail(Errc::kInvalidArgument, "norm_rope: {} query rows, {} latent rows, {} keys",
                query.rows, latent.rows, key.tokens);
  if (quantised.values == nullptr) return {};
  DSAPERF_TRY(quantise_groups_check(quantised));
  if (quantised.x != query.out || quantised.rows != query.rows || quantised.dim != query.dim ||
      quantised.x_stride != query.out_stride)
    return fail(Errc::kInvalidArgument, "norm_rope: what is quantised is not the query's norm");
  return {};
}

Result<void> indexer_norm_rope_check(const IndexerNormRopeParams& params) {
  const auto& [query, key_norm, key] = params;
  DSAPERF_TRY(rope_check(query));
  DSAPERF_TRY(layer_norm_check(key_norm));
  DSAPERF_TRY(rope_check(key));
  if (query.tokens != key_norm.rows || key.tokens != key_norm.rows)
    return fail(Errc::kInvalidArgument,
                "indexer_norm_rope: queries of {} tokens, {} keys, {} of "
                "them rotated",
                query.tokens, key_norm.rows, key.tokens);
  if (key.x != key_norm.out || key.source != nullptr || key.heads != 1 || key.dim > key_norm.dim ||
      key.token_stride != key_norm.out_stride)
    return fail(Errc::kInvalidArgument,
                "indexer_norm_rope: what is rotated is not the beginning of the key's norm");
  return {};
}

Result<void> index_key_write_check(const IndexKeyWriteParams& params) {
  const auto& [norm, rope, quantised, write] = params;
  DSAPERF_TRY(layer_norm_check(norm));
  DSAPERF_TRY(rope_check(rope));
  DSAPERF_TRY(indexer_quantise_check(quantised));
  DSAPERF_TRY(index_key_cache_write_check(write));
  if (rope.tokens != norm.rows || quantised.rows != norm.rows || write.tokens != norm.rows)
    return fail(Errc::kInvalidArgument,
                "index_key_write: {} keys, {} rotated, {} quantised, {} written", norm.rows,
                rope.tokens, quantised.rows, write.tokens);
  if (norm.rows == 0) return {};
  const bool rotates_norm = rope.x == norm.out && rope.source == nullptr && rope.heads == 1 &&
                            rope.dim <= norm.dim && rope.token_stride == norm.out_stride;
  const bool quantises_norm = norm.dim == kIndexDim && quantised.x == norm.out &&
                              quantised.x_stride == norm.out_stride &&
                              quantised.weights == nullptr && quantised.scales != nullptr;
  if (!rotates_norm || !quantises_norm || write.values != quantised.values ||
      write.scales != quantised.scales)
    return fail(Errc::kInvalidArgument, "index_key_write: a part does not go on with the last");
  return {};
}

}  // namespace dsaperf::kernels
