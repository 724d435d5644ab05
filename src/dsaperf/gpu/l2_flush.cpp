#include "dsaperf/gpu/l2_flush.hpp"

#include <algorithm>

namespace dsaperf::gpu {

Result<L2Flush> L2Flush::create() {
  DSAPERF_TRY_ASSIGN(auto buffer, DeviceArray<unsigned char>::uninitialized(kBytes));
  return L2Flush(std::move(buffer));
}

Result<void> L2Flush::run(CUstream_st* stream, std::size_t bytes) const {
  const std::size_t written = std::min(bytes, buffer_.size_bytes());
  DSAPERF_CUDA_TRY(cudaMemsetAsync(buffer_.data(), 0, written, stream));
  return {};
}

}  // namespace dsaperf::gpu
