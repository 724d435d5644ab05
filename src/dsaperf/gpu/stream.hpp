#pragma once

#include "dsaperf/core/error.hpp"

#include <utility>

struct CUstream_st;

namespace dsaperf::gpu {

// An owned stream of the current device. Destroyed with the object; work still queued completes.
class Stream {
 public:
  static Result<Stream> create();

  Stream(Stream&& other) noexcept : stream_(std::exchange(other.stream_, nullptr)) {}
  Stream& operator=(Stream&& other) noexcept {
    std::swap(stream_, other.stream_);
    return *this;
  }
  ~Stream();

  CUstream_st* get() const { return stream_; }

  // Blocks the calling thread until all queued work is done; reports what failed in it.
  Result<void> synchronize() const;

 private:
  explicit Stream(CUstream_st* stream) : stream_(stream) {}

  CUstream_st* stream_ = nullptr;
};

}  // namespace dsaperf::gpu
