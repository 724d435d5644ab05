#pragma once

#include <cstdint>

// Integers in the shared memory of another CTA of the cluster, and when it may go; addresses come
// from cluster_address (mbarrier.cuh). PTX ISA 9.7.9.8 "ld" and 9.7.9.11 "st", .shared::cluster.
namespace dsaperf::kernels::sm90::ptx {

__device__ inline std::uint32_t load_cluster_u32(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

// Visible to that CTA after the next barrier of the cluster.
__device__ inline void store_cluster_u32(std::uint32_t address, std::uint32_t value) {
  asm volatile("st.shared::cluster.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

// The same of an addition. PTX ISA 9.7.13.6 "red".
__device__ inline void add_cluster_u32(std::uint32_t address, std::uint32_t value) {
  asm volatile("red.shared::cluster.add.u32 [%0], %1;" ::"r"(address), "r"(value) : "memory");
}

// The two halves of cluster_sync (control.cuh), for warps that need not be converged.
__device__ inline void cluster_arrive() {
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
}
__device__ inline void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

// 8-byte aligned.
__device__ inline uint2 load_cluster_u32x2(std::uint32_t address) {
  uint2 value;
  asm volatile("ld.shared::cluster.v2.u32 {%0, %1}, [%2];"
               : "=r"(value.x), "=r"(value.y)
               : "r"(address)
               : "memory");
  return value;
}

}  // namespace dsaperf::kernels::sm90::ptx
