#pragma once

#include <cstdint>

// Warps, CTAs, clusters, grids: synchronisation and resources.
namespace dsaperf::kernels::sm90::ptx {

// Warpgroup-wide; the kernel's registers must be fixed at launch (__launch_bounds__(threads, 1)).
// PTX ISA 9.7.19.5.
template <int kRegisters>
__device__ inline void more_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void fewer_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters, int kBefore>
__device__ inline void change_registers() {
  if constexpr (kRegisters > kBefore)
    more_registers<kRegisters>();
  else
    fewer_registers<kRegisters>();
}

// Named barriers 1 ... 15 (0 is __syncthreads). `threads` counts all that arrive or wait.
__device__ inline void named_barrier_sync(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}
// And whether `value` holds for any of them.
__device__ inline bool named_barrier_any(int id, int threads, bool value) {
  std::uint32_t any;
  asm volatile(
      "{\n"
      ".reg .pred p, q;\n"
      "setp.ne.u32 p, %1, 0;\n"
      "bar.red.or.pred q, %2, %3, p;\n"
      "selp.u32 %0, 1, 0, q;\n"
      "}\n"
      : "=r"(any)
      : "r"(static_cast<std::uint32_t>(value)), "r"(id), "r"(threads)
      : "memory");
  return any != 0;
}
__device__ inline void named_barrier_arrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// True in one lane of a warp whose lanes have come together. The compiler knows that it is one, and
// that what they share is the same for all: copies are then issued without a loop over lanes.
__device__ inline bool elect_one() {
  std::uint32_t elected;
  asm volatile(
      "{\n"
      ".reg .pred p;\n"
      "elect.sync _|p, 0xffffffff;\n"
      "selp.u32 %0, 1, 0, p;\n"
      "}\n"
      : "=r"(elected));
  return elected != 0;
}

// Orders shared memory, own and of the cluster, across all CTAs of the cluster.
__device__ inline void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;\n" ::
          : "memory");
}

__device__ inline std::uint32_t cluster_rank() {
  std::uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}

__device__ inline std::uint32_t cluster_size() {
  std::uint32_t size;
  asm volatile("mov.u32 %0, %%cluster_nctarank;" : "=r"(size));
  return size;
}

// Shared memory of another CTA of the cluster; `address` comes from cluster_address (mapa).
__device__ inline float4 load_cluster_f32x4(std::uint32_t address) {
  float4 value;
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value.x), "=f"(value.y), "=f"(value.z), "=f"(value.w)
               : "r"(address)
               : "memory");
  return value;
}
__device__ inline void store_cluster_f32x2(std::uint32_t address, float a, float b) {
  asm volatile("st.shared::cluster.v2.f32 [%0], {%1, %2};" ::"r"(address), "f"(a), "f"(b)
               : "memory");
}

// Stores to another CTA's shared memory that complete 16 bytes on its barrier (st.async, 9.7.9.12).
__device__ inline void store_async_16(std::uint32_t mapped_destination,
                                      std::uint32_t mapped_barrier, std::uint32_t a,
                                      std::uint32_t b, std::uint32_t c, std::uint32_t d) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.b32 [%0], {%2, %3, %4, %5}, "
      "[%1];" ::"r"(mapped_destination),
      "r"(mapped_barrier), "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}

// Programmatic dependent launch: wait for what the launch depends on; let the next one start.
__device__ inline void wait_for_previous_grid() {
  asm volatile("griddepcontrol.wait;" ::: "memory");
}
__device__ inline void launch_next_grid() {
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

// A word that CTAs of any grid tell each other something by: what the storing thread wrote, and saw
// others of its CTA write (through a barrier), is seen by who loads the word and by those whom that
// thread meets at a barrier. PTX ISA 8.8 "release and acquire patterns".
__device__ inline void store_release(std::uint32_t* word, std::uint32_t value) {
  asm volatile("st.release.gpu.global.u32 [%0], %1;" ::"l"(word), "r"(value) : "memory");
}
__device__ inline std::uint32_t load_acquire(const std::uint32_t* word) {
  std::uint32_t value;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(word) : "memory");
  return value;
}

// Four 8x8 matrices of 16-bit values: lane l gives the address of row l % 8 of matrix l / 8, and
// holds of each matrix row l / 4, columns 2 * (l % 4) and the next. PTX ISA 9.7.14.5.16.
__device__ inline void stmatrix_x4(std::uint32_t address, std::uint32_t a, std::uint32_t b,
                                   std::uint32_t c, std::uint32_t d) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.shared::cta.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
      "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}

// The same matrices, from shared memory. PTX ISA 9.7.14.5.15 "ldmatrix".
__device__ inline void ldmatrix_x4(std::uint32_t address, std::uint32_t (&words)[4]) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared::cta.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
               : "r"(address)
               : "memory");
}

__device__ inline float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Of two pairs of bf16 the larger ones; of a number and NaN the number.
__device__ inline std::uint32_t max_bf16x2(std::uint32_t a, std::uint32_t b) {
  std::uint32_t larger;
  asm("max.bf16x2 %0, %1, %2;" : "=r"(larger) : "r"(a), "r"(b));
  return larger;
}

}  // namespace dsaperf::kernels::sm90::ptx
