#include "dsaperf/kernels/norm_rope.hpp"

#include "dsaperf/core/fail.hpp"

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

}  // namespace dsaperf::kernels
