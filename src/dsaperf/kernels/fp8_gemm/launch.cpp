#include "dsaperf/kernels/fp8_gemm/launch.hpp"

namespace dsaperf::kernels::block_scaled {

// Few rows: small tiles, so that the weights are read by many SMs at once. In between: enough tiles
// to give each SM of a Hopper card one.
cudaError_t launch(const Fp8GemmParams& params, cudaStream_t stream) {
  constexpr std::int64_t kHopperSms = 132;
  if (params.m <= 32) return launch_tile<16, 32>(params, stream);
  const auto large_tiles = ((params.m + 127) / 128) * ((params.n + 127) / 128);
  if (large_tiles < kHopperSms) return launch_tile<64, 64>(params, stream);
  return launch_tile<128, 128>(params, stream);
}

}  // namespace dsaperf::kernels::block_scaled
