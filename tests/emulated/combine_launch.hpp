#pragma once

#include "dsaperf/kernels/sm90/sparse_mla/combine.cuh"

namespace dsaperf::kernels::sm90::sparse_mla {

// The combining kernel as launch_combine launches it on a device of so many SMs.
inline void run_combine(const PartsParams& params, int sm_count, unsigned seed) {
  const CombineShape shape = combine_shape(params.tokens, params.heads, params.parts, sm_count);
  emulated::launch(shape.grid, shape.threads, 1, seed, [&] {
    switch (combine_pieces(params.parts)) {
      case 4:
        return combine_parts_kernel<4>(params);
      case 2:
        return combine_parts_kernel<2>(params);
      default:
        return combine_parts_kernel<1>(params);
    }
  });
}

}  // namespace dsaperf::kernels::sm90::sparse_mla
