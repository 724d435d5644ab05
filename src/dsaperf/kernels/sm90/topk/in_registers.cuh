#pragma once

#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Rows in registers (short_kernel.cuh, spread_kernel.cuh): each thread holds kValues neighbours.
// The threshold is a key and how many of the elements equal to it are wanted; the lowest positions
// of them are, which a sum over the threads before tells each.
//
// Elements that do not count have the key of NaN, the lowest, and positions behind all others: they
// are counted, and never taken, as more elements count than are wanted.
namespace dsaperf::kernels::sm90 {

// The kValues scores from `first` on; NaN from `count` on.
template <int kValues>
__device__ void load_scores(const float* __restrict__ scores, int first, int count,
                            float (&values)[kValues]) {
#pragma unroll
  for (float& value : values) value = __uint_as_float(0x7fffffff);
  if (first + kValues <= count && reinterpret_cast<std::uintptr_t>(scores) % 16 == 0) {
#pragma unroll
    for (int i = 0; i < kValues; i += 4) {
      const auto four = *reinterpret_cast<const float4*>(scores + first + i);
      values[i] = four.x;
      values[i + 1] = four.y;
      values[i + 2] = four.z;
      values[i + 3] = four.w;
    }
    return;
  }
#pragma unroll
  for (int i = 0; i < kValues; ++i)
    if (first + i < count) values[i] = scores[first + i];
}

// Visits the keys of this thread.
template <int kValues>
struct OwnKeys {
  const std::uint32_t (&keys)[kValues];

  template <class Visit>
  __device__ void operator()(Visit visit) const {
#pragma unroll
    for (const std::uint32_t key : keys) visit(key);
  }
};

// Which of a thread's elements are above the threshold, and which equal it; bit i is key i.
struct Marks {
  std::uint32_t above = 0;
  std::uint32_t equal = 0;

  // left: of one value; or all of it is wanted.
  template <int kValues>
  __device__ Marks(const std::uint32_t (&keys)[kValues], const Range& left) {
    static_assert(kValues <= 32);
    if (left.last != 0) {
#pragma unroll
      for (int i = 0; i < kValues; ++i) above |= keys[i] >= left.lo ? 1u << i : 0;
      return;
    }
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      above |= keys[i] > left.lo ? 1u << i : 0;
      equal |= keys[i] == left.lo ? 1u << i : 0;
    }
  }

  // Both numbers in one word, that of the equal ones in the high half.
  __device__ std::uint32_t counts() const {
    return static_cast<std::uint32_t>(__popc(above) + (__popc(equal) << 16));
  }

  // What is taken: of the equal ones the first `room`.
  __device__ std::uint32_t taken(std::uint32_t room) const {
    std::uint32_t kept = room == 0 ? 0 : equal;
    while (static_cast<std::uint32_t>(__popc(kept)) > room) kept ^= 0x80000000u >> __clz(kept);
    return above | kept;
  }
};

// Positions first + i of the bits of `taken`, in order, to `at`.
template <int kValues>
__device__ void stage_positions(std::uint32_t taken, int first, std::int32_t* at) {
#pragma unroll
  for (int i = 0; i < kValues; ++i)
    if ((taken >> i & 1) != 0) *at++ = first + i;
}

// The threshold among the range.active <= kTopkFinalists elements of `range`: a range of one value,
// of which range.need elements are wanted. for_each visits the keys of this thread. Several lanes
// rank one finalist. Two block barriers.
template <int kThreads, class ForEach>
__device__ Range rank_finalists(const Range& range, TopkShared& shared, ForEach for_each) {
  constexpr int kLanes = kThreads / kTopkFinalists;
  static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0);
  auto* finalists = reinterpret_cast<std::uint32_t*>(shared.finalists);
  for_each([&](std::uint32_t key) {
    if (range.holds(key)) finalists[atomicAdd(&shared.finalist_count, 1u)] = key;
  });
  __syncthreads();
  const std::uint32_t own = finalists[threadIdx.x / kLanes];
  std::uint32_t above_and_equal = 0;  // in the low and the high half
  for (std::uint32_t i = threadIdx.x % kLanes; i < range.active; i += kLanes) {
    const std::uint32_t other = finalists[i];
    above_and_equal += other > own ? 1 : other == own ? 1 << 16 : 0;
  }
#pragma unroll
  for (int step = 1; step < kLanes; step *= 2)
    above_and_equal += __shfl_xor_sync(~0u, above_and_equal, step);
  const std::uint32_t above = above_and_equal & 0xffff;
  if (threadIdx.x / kLanes < range.active && above < range.need &&
      range.need <= above + (above_and_equal >> 16)) {  // alike for all that equal the threshold
    shared.found_bin = own;
    shared.found_above = above;
  }
  __syncthreads();
  return {shared.found_bin, 0, 0, range.need - shared.found_above};
}

}  // namespace dsaperf::kernels::sm90
