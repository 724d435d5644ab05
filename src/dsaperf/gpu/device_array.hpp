#pragma once

#include "dsaperf/gpu/cuda_error.hpp"

#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace dsaperf::gpu {

// Owned device memory for `size` values of T. Never copied by accident: moves only. Allocation and
// release synchronise with the device, so they belong outside forward passes.
template <typename T>
class DeviceArray {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  // Empty: no memory, size 0.
  DeviceArray() = default;

  static Result<DeviceArray> uninitialized(std::size_t size) {
    if (size == 0) return DeviceArray();
    void* data = nullptr;
    DSAPERF_CUDA_TRY(cudaMalloc(&data, size * sizeof(T)));
    return DeviceArray(static_cast<T*>(data), size);
  }

  // Every byte set to `byte`: 0, or a poison that a test looks for afterwards. Blocks.
  static Result<DeviceArray> filled_with_byte(std::size_t size, unsigned char byte) {
    DSAPERF_TRY_ASSIGN(auto array, uninitialized(size));
    if (size != 0) {
      DSAPERF_CUDA_TRY(cudaMemset(array.data(), byte, size * sizeof(T)));
      DSAPERF_TRY(wait());
    }
    return array;
  }

  // A copy of host memory. Blocks.
  static Result<DeviceArray> copy_of(std::span<const T> host) {
    DSAPERF_TRY_ASSIGN(auto array, uninitialized(host.size()));
    DSAPERF_TRY(array.assign(host));
    return array;
  }

  DeviceArray(DeviceArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  DeviceArray& operator=(DeviceArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~DeviceArray() {
    if (data_ != nullptr) cudaFree(data_);
  }

  T* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return size_ * sizeof(T); }

  // Copies host.size() <= size() values to the front. Blocks.
  Result<void> assign(std::span<const T> host) {
    if (!host.empty()) {
      DSAPERF_CUDA_TRY(cudaMemcpy(data_, host.data(), host.size_bytes(), cudaMemcpyHostToDevice));
      return wait();
    }
    return {};
  }

  // All values, on the host, after all work of the device so far. Blocks.
  Result<std::vector<T>> to_host() const {
    std::vector<T> host(size_);
    DSAPERF_CUDA_TRY(cudaDeviceSynchronize());
    if (size_ != 0) {
      DSAPERF_CUDA_TRY(cudaMemcpy(host.data(), data_, size_bytes(), cudaMemcpyDeviceToHost));
    }
    return host;
  }

 private:
  DeviceArray(T* data, std::size_t size) : data_(data), size_(size) {}

  // cudaMemset, and cudaMemcpy from pageable memory, may return before the device is done, and our
  // streams do not wait for the default one.
  static Result<void> wait() {
    DSAPERF_CUDA_TRY(cudaStreamSynchronize(nullptr));
    return {};
  }

  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace dsaperf::gpu
