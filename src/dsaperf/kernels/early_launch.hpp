#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>

namespace dsaperf::kernels {

// How a kernel is launched that may start while the grid before it on the stream ends (programmatic
// dependent launch), and waits for that grid itself: config() is for cudaLaunchKernelEx. `cluster`:
// CTAs of a cluster, along x; 0: no clusters. A kernel that always meets at the cluster's barriers
// wants one of a single CTA said: racecheck knows these barriers in no other launch.
class EarlyLaunch {
 public:
  EarlyLaunch(dim3 grid, int threads, std::size_t shared_bytes, cudaStream_t stream,
              int cluster = 0) {
    attributes_[0].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes_[0].val.programmaticStreamSerializationAllowed = 1;
    attributes_[1].id = cudaLaunchAttributeClusterDimension;
    attributes_[1].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    config_.gridDim = grid;
    config_.blockDim = dim3(static_cast<unsigned>(threads));
    config_.dynamicSmemBytes = shared_bytes;
    config_.stream = stream;
    config_.attrs = attributes_;
    config_.numAttrs = cluster > 0 ? 2 : 1;
  }
  EarlyLaunch(const EarlyLaunch&) = delete;  // the configuration points into it
  EarlyLaunch& operator=(const EarlyLaunch&) = delete;

  const cudaLaunchConfig_t* config() const { return &config_; }

 private:
  cudaLaunchAttribute attributes_[2] = {};
  cudaLaunchConfig_t config_{};
};

}  // namespace dsaperf::kernels
