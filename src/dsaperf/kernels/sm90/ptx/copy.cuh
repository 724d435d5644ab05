#pragma once

#include <cuda.h>

#include <cstdint>

// Asynchronous copies into shared memory. PTX ISA 9.7.9.25 "data movement: asynchronous copy".
namespace dsaperf::kernels::sm90::ptx {

// 16 bytes; with source_bytes 0 nothing is read and zeros are written (source must still be a
// mapped address). Both sides 16-byte aligned. L2 keeps the line (evict_last policy below).
__device__ inline void cp_async_16(std::uint32_t destination, const void* source,
                                   std::uint32_t source_bytes, std::uint64_t policy) {
  asm volatile("cp.async.cg.shared.global.L2::cache_hint.L2::128B [%0], [%1], 16, %2, %3;" ::"r"(
                   destination),
               "l"(source), "r"(source_bytes), "l"(policy)
               : "memory");
}

// The same without a policy.
__device__ inline void cp_async_16(std::uint32_t destination, const void* source,
                                   std::uint32_t source_bytes) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(destination),
               "l"(source), "r"(source_bytes)
               : "memory");
}

// 4 bytes, or zeros where source_bytes is 0.
__device__ inline void cp_async_4(std::uint32_t destination, const void* source,
                                  std::uint32_t source_bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(destination), "l"(source),
               "r"(source_bytes)
               : "memory");
}

// Until all cp.async of this thread are complete.
__device__ inline void cp_async_wait_all() {
  asm volatile("cp.async.wait_all;" ::: "memory");
}

// Keeps the sum of a uniform and a per-thread part in one register. ptxas 13.0 encodes a copy whose
// shared address is register + uniform register together with a cache policy as an illegal
// instruction.
__device__ inline std::uint32_t in_a_register(std::uint32_t address) {
  return __shfl_sync(0xffffffff, address, static_cast<int>(threadIdx.x % 32));
}

__device__ inline std::uint64_t policy_evict_last() {
  std::uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_last.b64 %0, 1.0;" : "=l"(policy));
  return policy;
}

// `fraction`: of what is read, above 0.
__device__ inline std::uint64_t policy_evict_first(float fraction = 1) {
  std::uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, %1;"
               : "=l"(policy)
               : "f"(fraction));
  return policy;
}

__device__ inline void prefetch_l2(const void* source) {
  asm volatile("prefetch.global.L2 [%0];" ::"l"(source));
}

// Brings the line into the SM's own cache, so that who loads from it later waits for L2 no more.
__device__ inline void touch_l1(const std::int32_t* source) {
  asm volatile("{ .reg .b32 value; ld.global.b32 value, [%0]; }" ::"l"(source));
}

// One contiguous run of `bytes` (multiple of 16, both sides 16-byte aligned); completes on barrier.
__device__ inline void bulk_load(std::uint32_t destination, const void* source, std::uint32_t bytes,
                                 std::uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(destination),
      "l"(source), "r"(bytes), "r"(barrier)
      : "memory");
}

// TMA box of a 2-D or 3-D tensor map; coordinates in elements, innermost first.
__device__ inline void tensor_load_2d(std::uint32_t destination, const CUtensorMap* map,
                                      std::uint32_t barrier, int x, int y) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y)
      : "memory");
}

__device__ inline void tensor_load_3d(std::uint32_t destination, const CUtensorMap* map,
                                      std::uint32_t barrier, int x, int y, int z) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3, %4, %5}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z)
      : "memory");
}

__device__ inline void prefetch_tensor_map(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

// What ordinary stores (and cp.async) of this thread wrote to shared memory becomes visible to
// wgmma and the copy engine, and what this thread has seen of others' stores through a barrier.
__device__ inline void fence_async_shared() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

}  // namespace dsaperf::kernels::sm90::ptx
