#pragma once

#include <cuda.h>

#include <cstdint>

// Boxes of tensor maps from shared to global memory. PTX ISA 9.7.9.25 "cp.async.bulk.tensor".
namespace dsaperf::kernels::sm90::ptx {

// What of the box is outside the tensor is not stored. The writes of the box to shared memory come
// before it by fence_async_shared (copy.cuh) of their threads and a barrier.
__device__ inline void tensor_store_2d(const CUtensorMap* map, std::uint32_t source, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%0, {%2, %3}], [%1];" ::"l"(map),
      "r"(source), "r"(x), "r"(y)
      : "memory");
}

__device__ inline void commit_stores() {
  asm volatile("cp.async.bulk.commit_group;" ::: "memory");
}

// Until all that this thread has committed is read: its shared memory is free again.
__device__ inline void wait_until_stores_are_read() {
  asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

}  // namespace dsaperf::kernels::sm90::ptx
