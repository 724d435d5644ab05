#pragma once

#include "dsaperf/gpu/device_array.hpp"

struct CUstream_st;

namespace dsaperf::gpu {

// Overwrites a buffer several times the size of the L2, so that what runs next finds nothing of its
// inputs there. Stream-ordered.
class L2Flush {
 public:
  static constexpr std::size_t kBytes = std::size_t{256} << 20;  // L2 of H100: 50 MB, H200: 60 MB

  static Result<L2Flush> create();
  // At most `bytes` of it: as much other data as has gone through the L2 since.
  Result<void> run(CUstream_st* stream, std::size_t bytes = kBytes) const;

 private:
  explicit L2Flush(DeviceArray<unsigned char> buffer) : buffer_(std::move(buffer)) {}

  DeviceArray<unsigned char> buffer_;
};

}  // namespace dsaperf::gpu
