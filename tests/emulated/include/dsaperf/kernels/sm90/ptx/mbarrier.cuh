#pragma once

#include "emulated_cuda.hpp"

#include <cstdio>
#include <cstdlib>

// The instructions of the file of this name under src, on emulated CTAs: arrivals and bytes are
// counted. A phase that completes when nobody has waited for the one before ends the program, as
// synccheck would have it.
namespace dsaperf::kernels::sm90::ptx {

inline std::uint32_t shared_address(const void* pointer) {
  return emulated::shared_address(pointer);
}
inline std::uint32_t cluster_address(std::uint32_t address, std::uint32_t rank) {
  return emulated::cluster_address(address, rank);
}

// The 8 bytes of a barrier.
struct EmulatedBarrier {
  std::uint32_t phase : 1;
  std::uint32_t seen : 1;  // since it last completed
  std::uint32_t count : 14;
  std::uint32_t pending : 16;
  std::int32_t bytes;  // expected and not complete
};
static_assert(sizeof(EmulatedBarrier) == 8);

inline EmulatedBarrier& barrier_at(std::uint32_t address) {
  return *static_cast<EmulatedBarrier*>(emulated::own_pointer_of(address));
}

inline void mbarrier_init(std::uint32_t barrier, std::uint32_t count) {
  barrier_at(barrier) = {.phase = 0, .seen = 1, .count = count, .pending = count, .bytes = 0};
}
inline void fence_mbarrier_init() {
}
inline void end_phase_when_complete(std::uint32_t barrier) {
  EmulatedBarrier& at = barrier_at(barrier);
  if (at.pending != 0 || at.bytes != 0) return;
  if (at.seen == 0) {
    std::fprintf(stderr, "barrier %#x: nobody has waited for the phase before\n", barrier);
    std::abort();
  }
  at.phase ^= 1;
  at.seen = 0;
  at.pending = at.count;
  emulated::note_progress();
}
inline void mbarrier_arrive(std::uint32_t barrier) {
  --barrier_at(barrier).pending;
  end_phase_when_complete(barrier);
}
inline constexpr int kArrivalsOfWarp = 1;
inline void mbarrier_arrive_of_warp(std::uint32_t barrier, int lane) {
  if (lane < kArrivalsOfWarp) mbarrier_arrive(barrier);
}
inline void mbarrier_arrive_expect_tx(std::uint32_t barrier, std::uint32_t bytes) {
  barrier_at(barrier).bytes += static_cast<std::int32_t>(bytes);
  mbarrier_arrive(barrier);
}
inline void mbarrier_complete_tx(std::uint32_t barrier, std::uint32_t bytes) {
  barrier_at(barrier).bytes -= static_cast<std::int32_t>(bytes);
  end_phase_when_complete(barrier);
}
inline void mbarrier_arrive_after_cp_async(std::uint32_t barrier) {
  emulated::copy_later([barrier] { mbarrier_arrive(barrier); });
}
inline bool mbarrier_test(std::uint32_t barrier, std::uint32_t parity) {
  EmulatedBarrier& at = barrier_at(barrier);
  const bool complete = at.phase != parity;
  if (complete) at.seen = 1;
  return complete;
}
inline void mbarrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  while (!mbarrier_test(barrier, parity)) emulated::yield();
}

}  // namespace dsaperf::kernels::sm90::ptx
