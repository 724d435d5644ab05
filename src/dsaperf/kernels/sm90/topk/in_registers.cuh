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

// Keys of the kValues scores from `first` on; of NaN from `count` on.
template <int kValues>
__device__ void load_keys(const float* __restrict__ scores, int first, int count,
                          std::uint32_t (&keys)[kValues]) {
  float values[kValues];
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
  } else {
#pragma unroll
    for (int i = 0; i < kValues; ++i)
      if (first + i < count) values[i] = scores[first + i];
  }
#pragma unroll
  for (int i = 0; i < kValues; ++i) keys[i] = key_of(values[i]);
}

// The keys of this thread.
template <int kValues>
struct OwnKeys {
  const std::uint32_t (&keys)[kValues];

  template <class Visit>
  __device__ void operator()(Visit visit) const {
#pragma unroll
    for (int i = 0; i < kValues; ++i) visit(keys[i]);
  }
  // Appends those within a range that has few: most threads see at once that they have none.
  __device__ void list(const Range& range, std::uint32_t* listed, std::uint32_t* count) const {
    std::uint32_t nearest = ~0u;
#pragma unroll
    for (int i = 0; i < kValues; ++i) nearest = min(nearest, keys[i] - range.lo);
    if (nearest > range.last) return;
    std::uint32_t own = 0;
#pragma unroll
    for (int i = 0; i < kValues; ++i) own += range.holds(keys[i]) ? 1 : 0;
    std::uint32_t* at = listed + atomicAdd(count, own);
#pragma unroll
    for (int i = 0; i < kValues; ++i)
      if (range.holds(keys[i])) *at++ = keys[i];
  }
};

// What is taken: keys from `lowest` on, and the first `tied` elements of the key below it.
struct Cut {
  std::uint32_t lowest;
  std::uint32_t tied;

  // left: decided.
  __device__ explicit Cut(const Range& left)
      : lowest(left.active == left.need ? left.lo : left.lo + 1),
        tied(left.active == left.need ? 0 : left.need) {}

  // How many of a thread's keys are taken; in the high half, how many are tied.
  template <int kValues>
  __device__ std::uint32_t counts(const std::uint32_t (&keys)[kValues]) const {
    std::uint32_t counts = 0;
#pragma unroll
    for (int i = 0; i < kValues; ++i) counts += keys[i] >= lowest ? 1 : 0;
    if (tied == 0) return counts;
#pragma unroll
    for (int i = 0; i < kValues; ++i) counts += keys[i] == lowest - 1 ? 1 << 16 : 0;
    return counts;
  }

  // Positions first + i of what is taken, in order, to `at`; of the tied ones the first `room`.
  template <int kValues>
  __device__ void write_positions(const std::uint32_t (&keys)[kValues], int first,
                                  std::uint32_t room, std::int32_t* at) const {
    if (tied == 0) {
#pragma unroll
      for (int i = 0; i < kValues; ++i)
        if (keys[i] >= lowest) *at++ = first + i;
      return;
    }
#pragma unroll
    for (int i = 0; i < kValues; ++i) {
      const bool fits = keys[i] == lowest - 1 && room > 0;
      if (fits) --room;
      if (fits || keys[i] >= lowest) *at++ = first + i;
    }
  }
};

// The threshold among the range.active <= kTopkFinalists elements of `range`, as a range that is
// decided. keys.list appends those of this thread; shared.finalist_count must be zero. Two block
// barriers.
template <int kThreads, class Keys>
__device__ Range rank_finalists(const Range& range, TopkShared& shared, const Keys& keys) {
  auto* finalists = reinterpret_cast<std::uint32_t*>(shared.finalists);
  keys.list(range, finalists, &shared.finalist_count);
  __syncthreads();
  const RankedFinalist threshold =
      rank_listed<kThreads>(finalists, range.active, range.need, shared);
  return {static_cast<std::uint32_t>(threshold.value), 0, threshold.equal,
          range.need - threshold.above};
}

}  // namespace dsaperf::kernels::sm90
