#pragma once

#include "dsaperf/core/error.hpp"
#include "dsaperf/kernels/cache_write.hpp"
#include "dsaperf/kernels/norm.hpp"
#include "dsaperf/kernels/quantise.hpp"
#include "dsaperf/kernels/rope.hpp"

struct CUstream_st;

namespace dsaperf::kernels {

// Small stages that stand between two projections, each as one launch: bit for bit what their parts
// give one after the other. With few tokens a launch takes longer than the work in it.

// Stage 2: rms_norm(query), quantise_groups(quantised), rms_norm(latent), rope(key).
struct NormRopeParams {
  RmsNormParams query;
  QuantiseGroupsParams quantised = {};  // of what query writes; values null = not wanted
  RmsNormParams latent;
  RopeParams key;
};

// End of stage 6: rope(query), layer_norm(key_norm), rope(key), which rotates in place the first
// values of the rows that key_norm writes.
struct IndexerNormRopeParams {
  RopeParams query;
  LayerNormParams key_norm;
  RopeParams key;
};

// Stage 8 where stages 6 and 7 do not run: layer_norm(norm), rope(rope) in place over the first
// values of its rows, indexer_quantise(quantised) of them, index_key_cache_write(write).
struct IndexKeyWriteParams {
  LayerNormParams norm;
  RopeParams rope;
  IndexerQuantiseParams quantised;
  IndexKeyCacheWriteParams write;
};

// Fails with kInvalidArgument also where the parts have different tokens, or where one doesn't
// continue what it should.
Result<void> norm_rope_check(const NormRopeParams& params);
Result<void> indexer_norm_rope_check(const IndexerNormRopeParams& params);
Result<void> index_key_write_check(const IndexKeyWriteParams& params);

Result<void> norm_rope(const NormRopeParams& params, CUstream_st* stream);
Result<void> indexer_norm_rope(const IndexerNormRopeParams& params, CUstream_st* stream);
Result<void> index_key_write(const IndexKeyWriteParams& params, CUstream_st* stream);

}  // namespace dsaperf::kernels
