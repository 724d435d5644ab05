#pragma once

#include "dsaperf/kernels/sm90/ptx/copy.cuh"

#include <cuda.h>

#include <cstdint>

// Boxes of tensor maps beside those of copy.cuh. PTX ISA 9.7.9.25 "cp.async.bulk.tensor".
namespace dsaperf::kernels::sm90::ptx {

__device__ inline void tensor_load_1d(std::uint32_t destination, const CUtensorMap* map,
                                      std::uint32_t barrier, int x) {
  asm volatile(
      "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes"
      " [%0], [%1, {%3}], [%2];" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x)
      : "memory");
}

// With an L2 policy (policy_evict_first and the like of copy.cuh).
__device__ inline void tensor_load_3d(std::uint32_t destination, const CUtensorMap* map,
                                      std::uint32_t barrier, int x, int y, int z,
                                      std::uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint"
      " [%0], [%1, {%3, %4, %5}], [%2], %6;" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "r"(z), "l"(policy)
      : "memory");
}

// Into the same place of every CTA of the cluster named by a bit of `ctas`; the bytes complete on
// the barrier at the same place of each.
__device__ inline void tensor_load_2d_multicast(std::uint32_t destination, const CUtensorMap* map,
                                                std::uint32_t barrier, int x, int y,
                                                std::uint16_t ctas) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%3, %4}], [%2], %5;" ::"r"(destination),
      "l"(map), "r"(barrier), "r"(x), "r"(y), "h"(ctas)
      : "memory");
}

}  // namespace dsaperf::kernels::sm90::ptx
