#pragma once

#include <cstdint>

// 16 bytes of this CTA's shared memory by address (mbarrier.cuh), 16-byte aligned. PTX ISA 9.7.9.8
// "ld" and 9.7.9.11 "st", .shared::cta.
namespace dsaperf::kernels::sm90::ptx {

__device__ inline uint4 load_shared_16(std::uint32_t address) {
  uint4 v;
  asm volatile("ld.shared::cta.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(address)
               : "memory");
  return v;
}

__device__ inline void store_shared_16(std::uint32_t address, const uint4& v) {
  asm volatile("st.shared::cta.v4.u32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(v.x), "r"(v.y),
               "r"(v.z), "r"(v.w)
               : "memory");
}

}  // namespace dsaperf::kernels::sm90::ptx
