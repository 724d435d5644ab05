#pragma once

#include "dsaperf/kernels/sm90/topk/config.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"

#include <cstdint>

// Exact selection by one CTA: the threshold that separates the topk largest elements from the
// rest. Values are compared as `keys`, unsigned numbers in the order of the floats; positions break
// ties, the lowest first.
namespace dsaperf::kernels::sm90 {

inline constexpr std::uint32_t kKeyOfMinusInfinity = 0x007fffff;
inline constexpr std::uint32_t kKeyOfZero = 0x80000000;

// Ordered as the float is, -0 as +0, NaN below everything.
__device__ inline std::uint32_t key_of(float value) {
  const std::uint32_t bits = __float_as_uint(value + 0.0f);
  const std::uint32_t key =
      bits ^ (static_cast<std::uint32_t>(static_cast<int>(bits) >> 31) | 0x80000000u);
  return value == value ? key : 0;
}

__device__ inline float float_of(std::uint32_t key) {
  return __uint_as_float((key & 0x80000000u) != 0 ? key ^ 0x80000000u : ~key);
}

__device__ inline int end_of_row(const TopkArguments& a, int row) {
  if (a.end == nullptr) return a.columns;
  const int request = row / a.rows_per_end;
  const int fewer = a.rows_per_end - 1 - (row - request * a.rows_per_end);
  return min(a.end[request] - fewer, a.columns);
}

__device__ inline std::uint32_t warp_sum_through(std::uint32_t value) {
  const std::uint32_t lane = threadIdx.x % 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const std::uint32_t other = __shfl_up_sync(~0u, value, step);
    if (lane >= step) value += other;
  }
  return value;
}

// Exclusive sum over the threads of the block, in thread order, and the sum of all; one block
// barrier. warp_sum is free again after the caller's next barrier.
struct BlockSum {
  std::uint32_t before;
  std::uint32_t total;
};

template <int kThreads>
__device__ BlockSum block_sum(std::uint32_t own, std::uint32_t* warp_sum) {
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t through = warp_sum_through(own);
  if (lane == 31) warp_sum[warp] = through;
  __syncthreads();
  const std::uint32_t sums = lane < kThreads / 32 ? warp_sum[lane] : 0;
  return {__reduce_add_sync(~0u, lane < warp ? sums : 0) + through - own,
          __reduce_add_sync(~0u, sums)};
}

// The values lo ... lo + last hold `active` elements, of which the `need` largest are wanted; all
// elements above them are wanted, none below. 0 < need <= active.
struct Range {
  std::uint32_t lo;
  std::uint32_t last;
  std::uint32_t active;
  std::uint32_t need;

  __device__ bool holds(std::uint32_t value) const { return value - lo <= last; }
};

// How many low bits of an offset share one of 2048 bins, for a range of last + 1 values.
__device__ inline int bin_shift(std::uint32_t last) {
  return max(0, 21 - __clz(static_cast<int>(last)));
}

// The part of `range` that the bin with its threshold covers: the bin's number, how many elements
// stand above it and how many in it are left in shared by find_bin.
__device__ inline Range range_of_found_bin(const Range& range, int shift,
                                           const TopkShared& shared) {
  const std::uint32_t offset = shared.found_bin << shift;
  return {range.lo + offset, min(range.last - offset, (1u << shift) - 1), shared.found_count,
          range.need - shared.found_above};
}

// Finds the bin that holds the need-th largest of the counted elements. Before: a block barrier
// after the last count. kClear leaves the bins zero. Two block barriers; 256 threads sum the bins.
template <int kThreads, bool kClear>
__device__ void find_bin(std::uint32_t* histogram, std::uint32_t need, TopkShared& shared) {
  constexpr int kSummers = kThreads < 256 ? kThreads : 256;
  constexpr int kBinsOfThread = kTopkBins / kSummers;
  constexpr int kFours = kBinsOfThread / 4;
  static_assert(kBinsOfThread % 4 == 0);
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const bool sums = threadIdx.x < kSummers;
  // Descending: thread 0 has the highest bins.
  const int lowest = kTopkBins - kBinsOfThread * (static_cast<int>(threadIdx.x) + 1);
  auto* bins = reinterpret_cast<uint4*>(&histogram[lowest]);
  std::uint32_t own = 0;
  std::uint32_t through = 0;
  if (sums) {
    uint4 fours[kFours];
#pragma unroll
    for (int i = 0; i < kFours; ++i) fours[i] = bins[i];
#pragma unroll
    for (int i = kFours - 1; i >= 0; --i)
      own = own + fours[i].w + fours[i].z + fours[i].y + fours[i].x;
    through = warp_sum_through(own);
    if (lane == 31) shared.warp_sum[warp] = through;
  }
  __syncthreads();
  if (sums) {
    std::uint32_t above =
        __reduce_add_sync(~0u, lane < warp ? shared.warp_sum[lane] : 0) + through - own;
    if (above < need && need <= above + own) {
      uint4 fours[kFours];
#pragma unroll
      for (int i = 0; i < kFours; ++i) fours[i] = bins[i];
#pragma unroll
      for (int i = kFours - 1; i >= 0; --i) {
        const std::uint32_t counts[4] = {fours[i].w, fours[i].z, fours[i].y, fours[i].x};
#pragma unroll
        for (int j = 0; j < 4; ++j) {
          if (above < need && need <= above + counts[j]) {
            shared.found_bin = static_cast<std::uint32_t>(lowest + 4 * i + 3 - j);
            shared.found_above = above;
            shared.found_count = counts[j];
          }
          above += counts[j];
        }
      }
    }
    if constexpr (kClear) {
#pragma unroll
      for (int i = 0; i < kFours; ++i) bins[i] = uint4{};
    }
  }
  __syncthreads();
}

// One round: splits the range into at most 2048 bins and keeps the one with the threshold.
// for_each(f) calls f(value) for elements of this thread. (Elements of one bin are counted at
// once: an increment of shared memory adds up the lanes that name the same word.) Block barriers:
// three.
template <int kThreads, class ForEach>
__device__ Range narrow_once(const Range& range, TopkShared& shared, ForEach for_each) {
  const int shift = bin_shift(range.last);
  for_each([&](std::uint32_t value) {
    const std::uint32_t offset = value - range.lo;
    if (offset <= range.last) atomicAdd(&shared.histogram[offset >> shift], 1u);
  });
  __syncthreads();
  find_bin<kThreads, true>(shared.histogram, range.need, shared);
  return range_of_found_bin(range, shift, shared);
}

// Rounds until the threshold lies among at most `few` elements, or all of the range is wanted, or
// the range is one value.
template <int kThreads, class ForEach>
__device__ Range narrow(Range range, std::uint32_t few, TopkShared& shared, ForEach for_each) {
  while (range.active != range.need && range.active > few && range.last != 0) {
    range = narrow_once<kThreads>(range, shared, for_each);
  }
  return range;
}

// What is taken: larger keys, and of equal keys those at `place` or above, where place = ~position.
struct Threshold {
  std::uint32_t key;
  std::uint32_t place;

  __device__ bool takes(std::uint32_t other, std::uint32_t position) const {
    return other > key || (other == key && ~position >= place);
  }
};

// The places.need largest of the elements within `keys` and `places`, places.active and at most
// kTopkFinalists, each ranked against each by neighbouring lanes. for_each(f) calls f(key,
// position) for elements of this thread. shared.finalist_count must be zero. Two block barriers.
template <int kThreads, class ForEach>
__device__ Threshold threshold_of_few(const Range& keys, const Range& places, TopkShared& shared,
                                      ForEach for_each) {
  constexpr int kLanes = kThreads / kTopkFinalists;
  static_assert(kLanes >= 1 && kLanes <= 32 && (kLanes & (kLanes - 1)) == 0);
  for_each([&](std::uint32_t key, std::uint32_t position) {
    if (keys.holds(key) && places.holds(~position)) {
      const std::uint32_t slot = atomicAdd(&shared.finalist_count, 1u);
      shared.finalists[slot] = static_cast<std::uint64_t>(key) << 32 | ~position;
    }
  });
  __syncthreads();
  const std::uint64_t own = shared.finalists[threadIdx.x / kLanes];
  std::uint32_t rank = 0;
#pragma unroll 4
  for (std::uint32_t i = threadIdx.x % kLanes; i < places.active; i += kLanes)
    rank += shared.finalists[i] > own ? 1 : 0;
#pragma unroll
  for (int step = 1; step < kLanes; step *= 2) rank += __shfl_xor_sync(~0u, rank, step);
  if (threadIdx.x / kLanes < places.active && rank == places.need - 1) shared.threshold = own;
  __syncthreads();
  return {static_cast<std::uint32_t>(shared.threshold >> 32),
          static_cast<std::uint32_t>(shared.threshold)};
}

// The threshold of the keys.need largest; `length` bounds positions. for_each and
// shared.finalist_count as above.
template <int kThreads, class ForEach>
__device__ Threshold find_threshold(Range keys, std::uint32_t length, TopkShared& shared,
                                    ForEach for_each) {
  keys = narrow<kThreads>(keys, kTopkFinalists, shared, [&](auto count) {
    for_each([&](std::uint32_t key, std::uint32_t) { count(key); });
  });
  if (keys.active == keys.need) return {keys.lo, 0};
  Range places{~(length - 1), length - 1, keys.active, keys.need};
  if (keys.active > kTopkFinalists) {  // too many of one value: their positions decide
    places = narrow<kThreads>(places, kTopkFinalists, shared, [&](auto count) {
      for_each([&](std::uint32_t key, std::uint32_t position) {
        if (key == keys.lo) count(~position);
      });
    });
    if (places.active == places.need) return {keys.lo, places.lo};
  }
  return threshold_of_few<kThreads>(keys, places, shared, for_each);
}

}  // namespace dsaperf::kernels::sm90
