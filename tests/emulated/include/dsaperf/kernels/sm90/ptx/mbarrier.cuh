#pragma once

#include "emulated_cuda.hpp"

// The instructions of the file of this name under src, on emulated CTAs: arrivals and bytes are
// counted.
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
  std::uint32_t count : 15;
  std::uint32_t pending : 16;
  std::int32_t bytes;  // expected and not complete
};
static_assert(sizeof(EmulatedBarrier) == 8);

inline EmulatedBarrier& barrier_at(std::uint32_t address) {
  return *static_cast<EmulatedBarrier*>(emulated::own_pointer_of(address));
}

inline void mbarrier_init(std::uint32_t barrier, std::uint32_t count) {
  barrier_at(barrier) = {.phase = 0, .count = count, .pending = count, .bytes = 0};
}
inline void fence_mbarrier_init() {
}
inline void end_phase_when_complete(EmulatedBarrier& at) {
  if (at.pending != 0 || at.bytes != 0) return;
  at.phase ^= 1;
  at.pending = at.count;
  emulated::note_progress();
}
inline void mbarrier_arrive(std::uint32_t barrier) {
  EmulatedBarrier& at = barrier_at(barrier);
  --at.pending;
  end_phase_when_complete(at);
}
inline void mbarrier_arrive_expect_tx(std::uint32_t barrier, std::uint32_t bytes) {
  barrier_at(barrier).bytes += static_cast<std::int32_t>(bytes);
  mbarrier_arrive(barrier);
}
inline void mbarrier_complete_tx(std::uint32_t barrier, std::uint32_t bytes) {
  EmulatedBarrier& at = barrier_at(barrier);
  at.bytes -= static_cast<std::int32_t>(bytes);
  end_phase_when_complete(at);
}
inline void mbarrier_arrive_after_cp_async(std::uint32_t barrier) {
  emulated::copy_later([barrier] { mbarrier_arrive(barrier); });
}
inline bool mbarrier_test(std::uint32_t barrier, std::uint32_t parity) {
  return barrier_at(barrier).phase != parity;
}
inline void mbarrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  while (!mbarrier_test(barrier, parity)) emulated::yield();
}

}  // namespace dsaperf::kernels::sm90::ptx
