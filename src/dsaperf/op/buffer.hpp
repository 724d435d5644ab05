#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <utility>

namespace dsaperf::op {

// Owned memory of a backend: host memory or device memory, released the way it was got.
class Buffer {
 public:
  using Release = std::function<void(void*)>;

  Buffer() = default;
  Buffer(void* data, std::size_t bytes, Release release)
      : data_(data), bytes_(bytes), release_(std::move(release)) {}
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)),
        release_(std::move(other.release_)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~Buffer() {
    if (data_ != nullptr) release_(data_);
  }

  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  void* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
  Release release_;
};

// Memory of a backend that is in use now, the most that ever was, and how often it was asked for:
// what is said to allocate nothing leaves the last number as it is.
struct MemoryUse {
  std::int64_t bytes = 0;
  std::int64_t peak = 0;
  std::int64_t allocations = 0;

  void add(std::size_t more) {
    bytes += static_cast<std::int64_t>(more);
    peak = std::max(peak, bytes);
    ++allocations;
  }
};

}  // namespace dsaperf::op
