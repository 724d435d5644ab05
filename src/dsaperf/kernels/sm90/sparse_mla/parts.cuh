#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/config.cuh"
#include "dsaperf/kernels/sm90/sparse_mla/launch.hpp"

namespace dsaperf::kernels::sm90::sparse_mla {

// The statistics follow the partial outputs.
inline PartsParams with_parts(const SparseMlaParams& params, int parts, void* workspace) {
  PartsParams out{params};
  out.parts = parts;
  out.partial = static_cast<float4*>(workspace);
  const std::int64_t rows = params.tokens * head_tiles(params.heads) * parts * kHeadTile;
  out.stats = reinterpret_cast<float2*>(out.partial + rows * (kLatentDim / 4));
  return out;
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
