#include "dsaperf/gpu/stream.hpp"

#include "dsaperf/gpu/cuda_error.hpp"

namespace dsaperf::gpu {

Result<Stream> Stream::create() {
  cudaStream_t stream = nullptr;
  DSAPERF_CUDA_TRY(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return Stream(stream);
}

Stream::~Stream() {
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

Result<void> Stream::synchronize() const {
  DSAPERF_CUDA_TRY(cudaStreamSynchronize(stream_));
  return {};
}

}  // namespace dsaperf::gpu
