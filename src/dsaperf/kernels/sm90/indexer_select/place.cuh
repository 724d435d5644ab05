#pragma once

#include "dsaperf/kernels/sm90/indexer_scores/schedule.cuh"

#include <cstdint>

namespace dsaperf::kernels::sm90 {

// The line of tiles as the CTAs that score have cut it; a request's place in it.
struct RequestPlace {
  int total;
  int tiles_at;
  int tiles;
};

// All lanes of a warp call it.
template <class Config>
__device__ RequestPlace place_of_request(const std::int32_t* context_length, int requests, int keys,
                                         int request) {
  int total = 0;
  int before = 0;
  int tiles = 0;
#pragma unroll 8
  for (int r = static_cast<int>(threadIdx.x) % 32; r < requests; r += 32) {
    const int of_request = tile_count<Config>({0, max(min(context_length[r], keys), 0)});
    total += cost_of(of_request);
    if (r < request) before += cost_of(of_request);
    if (r == request) tiles = of_request;
  }
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    total += __shfl_xor_sync(~0u, total, step);
    before += __shfl_xor_sync(~0u, before, step);
    tiles += __shfl_xor_sync(~0u, tiles, step);
  }
  return {total, before + kGroupCost, tiles};
}

}  // namespace dsaperf::kernels::sm90
