#include "call.hpp"

#if DSAPERF_WITH_CUDA
#include <cuda_runtime_api.h>
#endif

namespace dsaperf::python {

void must(dsaperf_status status, const dsaperf_error& error) {
  if (status != DSAPERF_OK) throw Failure(dsaperf_status_name(status), error.message);
}

dsaperf_execution Call::execution() const {
  if (place_.gpu && options_.reference) refuse("reference=True is for tensors on the host");
  auto where = DSAPERF_INIT(dsaperf_execution);
  where.device = place_.gpu           ? DSAPERF_GPU
                 : options_.reference ? DSAPERF_CPU_REFERENCE
                                      : DSAPERF_CPU;
  where.threads = options_.threads;
  where.stream = reinterpret_cast<CUstream_st*>(options_.stream);
  return where;
}

#if DSAPERF_WITH_CUDA

Call::OnDevice::OnDevice(const Place& place) {
  if (!place.gpu) return;
  int current = 0;
  if (cudaGetDevice(&current) != cudaSuccess || current == place.device) return;
  if (cudaSetDevice(place.device) == cudaSuccess) before_ = current;
}

Call::OnDevice::~OnDevice() {
  if (before_ >= 0) cudaSetDevice(before_);
}

void Call::wait() const {
  const auto stream = reinterpret_cast<cudaStream_t>(options_.stream);
  if (const auto status = cudaStreamSynchronize(stream); status != cudaSuccess) {
    throw Failure(std::string(name(Errc::kCuda)),
                  fmt::format("{}: {}", cudaGetErrorName(status), cudaGetErrorString(status)));
  }
}

#else

Call::OnDevice::OnDevice(const Place& place) {
  if (place.gpu)
    throw Failure("unsupported",
                  "this package was built without its GPU part: pip install . "
                  "-C cmake.define.DSAPERF_CUDA=ON");
}
Call::OnDevice::~OnDevice() = default;
// Nothing runs on a GPU.
void Call::wait() const {
}

#endif

}  // namespace dsaperf::python
