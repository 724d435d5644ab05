#include "dsaperf/kernels/rows/grid.cuh"
#include "dsaperf/kernels/rows/launch.hpp"
#include "dsaperf/kernels/rows/norm_rope.cuh"
#include "dsaperf/kernels/rows/whole_rows.hpp"

namespace dsaperf::kernels::rows {
namespace {

// Whether norm.cu gives a row of `dim` values to a team of so many warps.
bool takes_team(int dim, int team) {
  const int most = 32 * kPiece * team;
  return dim <= most && (team == 1 || dim > most / 2);
}

bool in_one_launch(const NormRopeParams& params) {
  const bool quantised = params.quantised.values == nullptr || has_whole_rows(params.quantised);
  return has_whole_rows(params.query) && quantised && has_whole_rows(params.latent) &&
         has_whole_rows(params.key) && takes_team(params.query.dim, kQueryTeam) &&
         takes_team(params.latent.dim, kLatentTeam);
}

bool in_one_launch(const IndexerNormRopeParams& params) {
  return has_whole_rows(params.query) && has_whole_rows(params.key_norm) &&
         has_whole_rows(params.key) && takes_team(params.key_norm.dim, kIndexKeyTeam);
}

template <typename... Parts>
cudaError_t one_by_one(cudaStream_t stream, const Parts&... parts) {
  cudaError_t error = cudaSuccess;
  ((error = error == cudaSuccess ? launch(parts, stream) : error), ...);
  return error;
}

unsigned rope_blocks(const RopeParams& params) {
  return grid_size(params.tokens * params.heads * rope_units<true>(params), kRopeThreads);
}

}  // namespace

cudaError_t launch(const NormRopeParams& params, cudaStream_t stream) {
  const auto& [query, quantised, latent, key] = params;
  if (!in_one_launch(params)) {
    return quantised.values == nullptr ? one_by_one(stream, query, latent, key)
                                       : one_by_one(stream, query, quantised, latent, key);
  }
  constexpr int kTimes = 4;
  const bool many = exceeds_gpu(query.rows, kNormWarps / kQueryTeam);
  const PartBlocks blocks = {
      .first = grid_size(query.rows, (many ? kTimes : 1) * kNormWarps / kQueryTeam),
      .second = grid_size(latent.rows, kNormWarps / kLatentTeam)};
  const unsigned all = blocks.first + blocks.second + rope_blocks(key);
  const auto kernel = many ? norm_rope_kernel<kTimes> : norm_rope_kernel<1>;
  return launch_beside(kernel, all, kNormThreads, stream, params, blocks);
}

cudaError_t launch(const IndexerNormRopeParams& params, cudaStream_t stream) {
  const auto& [query, key_norm, key] = params;
  if (!in_one_launch(params)) return one_by_one(stream, query, key_norm, key);
  const unsigned query_blocks = rope_blocks(query);
  const unsigned all = query_blocks + grid_size(key_norm.rows, kNormWarps / kIndexKeyTeam);
  return launch_beside(indexer_norm_rope_kernel<1>, all, kNormThreads, stream, params,
                       query_blocks);
}

cudaError_t launch(const IndexKeyWriteParams& params, cudaStream_t stream) {
  const auto& [norm, rope, quantised, write] = params;
  const bool in_one = has_whole_rows(norm) && has_whole_rows(rope) && has_whole_rows(quantised) &&
                      has_whole_rows(write) && takes_team(norm.dim, kIndexKeyTeam);
  if (!in_one) return one_by_one(stream, norm, rope, quantised, write);
  return launch_beside(index_key_norm_cache_write_kernel<1>,
                       grid_size(norm.rows, kNormWarps / kIndexKeyTeam), kNormThreads, stream,
                       params);
}

}  // namespace dsaperf::kernels::rows
