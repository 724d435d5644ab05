#pragma once

#include <cstdint>

// One instruction, one function. PTX ISA 9.7.13.15 "mbarrier". Addresses are shared-memory
// addresses (shared_address), barriers are 8 bytes. A phase completes when `count` arrivals and all
// expected bytes have happened; wait(phase) returns once the phase of that parity has completed, so
// a consumer of a fresh barrier waits for parity 0 and a producer that finds all buffers free waits
// for parity 1.
namespace dsaperf::kernels::sm90::ptx {

__device__ inline std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

__device__ inline void mbarrier_init(std::uint32_t barrier, std::uint32_t count) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(count) : "memory");
}

// After the inits, before another thread or the copy engine uses the barriers.
__device__ inline void fence_mbarrier_init() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}

__device__ inline void mbarrier_arrive(std::uint32_t barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}

// One arrival speaks for a warp whose lanes have come together before it (__syncwarp, or the wait
// for a product): as if all of them arrived. Racecheck knows no order of memory but that of threads
// that arrive themselves, so the programs it watches are built with DSAPERF_EVERY_LANE_ARRIVES,
// where each lane does.
#ifdef DSAPERF_EVERY_LANE_ARRIVES
inline constexpr int kArrivalsOfWarp = 32;
#else
inline constexpr int kArrivalsOfWarp = 1;
#endif
__device__ inline void mbarrier_arrive_of_warp(std::uint32_t barrier, int lane) {
  if (lane < kArrivalsOfWarp) mbarrier_arrive(barrier);
}

__device__ inline void mbarrier_arrive_expect_tx(std::uint32_t barrier, std::uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}

// Arrives when all cp.async that this thread has issued so far are complete. The arrival counts
// (noinc), so the barrier's count includes it.
__device__ inline void mbarrier_arrive_after_cp_async(std::uint32_t barrier) {
  asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(barrier) : "memory");
}

__device__ inline bool mbarrier_try_wait(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

// One look, without suspending.
__device__ inline bool mbarrier_test(std::uint32_t barrier, std::uint32_t parity) {
  std::uint32_t done;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "mbarrier.test_wait.parity.shared::cta.b64 p, [%1], %2;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

__device__ inline void mbarrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  while (!mbarrier_try_wait(barrier, parity)) {
  }
}

// The same barrier in the shared memory of CTA `rank` of the cluster (mapa).
__device__ inline std::uint32_t cluster_address(std::uint32_t address, std::uint32_t rank) {
  std::uint32_t mapped;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}

__device__ inline void mbarrier_arrive_cluster(std::uint32_t mapped_barrier) {
  asm volatile("mbarrier.arrive.release.cluster.shared::cluster.b64 _, [%0];" ::"r"(mapped_barrier)
               : "memory");
}

// The same where nothing but reads stand before it: a buffer is free again. The scope is this
// CTA's; for that of the cluster each arrival waits until all writes of the warp are seen by the
// whole GPU.
__device__ inline void mbarrier_arrive_cluster_after_reads(std::uint32_t mapped_barrier) {
  asm volatile("mbarrier.arrive.shared::cluster.b64 _, [%0];" ::"r"(mapped_barrier) : "memory");
}

}  // namespace dsaperf::kernels::sm90::ptx
