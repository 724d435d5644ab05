#include "dsaperf/gpu/event.hpp"

#include "dsaperf/gpu/cuda_error.hpp"

namespace dsaperf::gpu {

Result<Event> Event::create() {
  cudaEvent_t event = nullptr;
  DSAPERF_CUDA_TRY(cudaEventCreate(&event));
  return Event(event);
}

Event::~Event() {
  if (event_ != nullptr) cudaEventDestroy(event_);
}

Result<void> Event::record(CUstream_st* stream) const {
  DSAPERF_CUDA_TRY(cudaEventRecord(event_, stream));
  return {};
}

Result<void> Event::record_in_graph(CUstream_st* stream) const {
  DSAPERF_CUDA_TRY(cudaEventRecordWithFlags(event_, stream, cudaEventRecordExternal));
  return {};
}

Result<void> Event::synchronize() const {
  DSAPERF_CUDA_TRY(cudaEventSynchronize(event_));
  return {};
}

Result<Micros> elapsed(const Event& start, const Event& stop) {
  float millis = 0;
  DSAPERF_CUDA_TRY(cudaEventElapsedTime(&millis, start.get(), stop.get()));
  return Micros::from_millis(static_cast<double>(millis));
}

}  // namespace dsaperf::gpu
