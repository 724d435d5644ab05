#include "dsaperf/gpu/l2_flush.hpp"

namespace dsaperf::gpu {

Result<L2Flush> L2Flush::create() {
  DSAPERF_TRY_ASSIGN(auto buffer, DeviceArray<unsigned char>::uninitialized(kBytes));
  return L2Flush(std::move(buffer));
}

Result<void> L2Flush::run(CUstream_st* stream) const {
  DSAPERF_CUDA_TRY(cudaMemsetAsync(buffer_.data(), 0, buffer_.size_bytes(), stream));
  return {};
}

}  // namespace dsaperf::gpu
