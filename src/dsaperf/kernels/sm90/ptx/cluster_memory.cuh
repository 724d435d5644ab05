#pragma once

#include <cstdint>

// Integers in the shared memory of another CTA of the cluster; addresses come from cluster_address
// (mbarrier.cuh). PTX ISA 9.7.9.8 "ld", .shared::cluster.
namespace dsaperf::kernels::sm90::ptx {

__device__ inline std::uint32_t load_cluster_u32(std::uint32_t address) {
  std::uint32_t value;
  asm volatile("ld.shared::cluster.u32 %0, [%1];" : "=r"(value) : "r"(address) : "memory");
  return value;
}

}  // namespace dsaperf::kernels::sm90::ptx
