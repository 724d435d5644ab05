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

// Whose barrier the selection comes together at: all threads of the CTA, or as many of its first
// ones as select.
struct WholeBlock {
  static __device__ void sync() { __syncthreads(); }
};

// Exclusive sum over the threads of the block, in thread order, and the sum of all; one block
// barrier. warp_sum is free again after the caller's next barrier.
struct BlockSum {
  std::uint32_t before;
  std::uint32_t total;
};

template <int kThreads, class Sync = WholeBlock>
__device__ BlockSum block_sum(std::uint32_t own, std::uint32_t* warp_sum) {
  const std::uint32_t lane = threadIdx.x % 32;
  const std::uint32_t warp = threadIdx.x / 32;
  const std::uint32_t through = warp_sum_through(own);
  if (lane == 31) warp_sum[warp] = through;
  Sync::sync();
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
  // Which elements are wanted is known, up to the order of equal ones.
  __device__ bool decided() const { return active == need || last == 0; }
};

// How many low bits of an offset share one of 2048 bins, for a range of last + 1 values.
__device__ inline int bin_shift(std::uint32_t last) {
  return max(0, 21 - __clz(static_cast<int>(last)));
}

// The part of `range` that a bin covers.
__device__ inline Range range_of_bin(const Range& range, int shift, const FoundBin& found) {
  const std::uint32_t offset = found.bin << shift;
  return {range.lo + offset, min(range.last - offset, (1u << shift) - 1), found.count,
          range.need - found.above};
}

template <int kThreads>
__device__ void clear_bins(std::uint32_t* histogram) {
#pragma unroll
  for (int i = static_cast<int>(threadIdx.x); i < kTopkBins / 4; i += kThreads)
    reinterpret_cast<uint4*>(histogram)[i] = uint4{};
}

// Finds the bin that holds the need-th largest of the counted elements. Before: a block barrier
// after the last count. kClear leaves the bins zero. Two block barriers.
template <int kThreads, bool kClear, class Sync = WholeBlock>
__device__ FoundBin find_bin(std::uint32_t* histogram, std::uint32_t need, TopkShared& shared) {
  constexpr int kBins = kTopkBins / kThreads;  // of a thread
  constexpr int kVector = kBins < 4 ? kBins : 4;
  static_assert(kBins % kVector == 0 && kVector >= 2);
  struct alignas(4 * kVector) Counts {
    std::uint32_t of[kVector];
  };
  // Descending: thread 0 has the highest bins.
  const int lowest = kTopkBins - kBins * (static_cast<int>(threadIdx.x) + 1);
  auto* bins = reinterpret_cast<Counts*>(&histogram[lowest]);
  Counts counts[kBins / kVector];
  std::uint32_t own = 0;
#pragma unroll
  for (int i = 0; i < kBins / kVector; ++i) {
    counts[i] = bins[i];
    if constexpr (kClear) bins[i] = Counts{};
#pragma unroll
    for (const std::uint32_t count : counts[i].of) own += count;
  }
  std::uint32_t above = block_sum<kThreads, Sync>(own, shared.warp_sum).before;
  if (above < need && need <= above + own) {
#pragma unroll
    for (int i = kBins - 1; i >= 0; --i) {
      const std::uint32_t count = counts[i / kVector].of[i % kVector];
      if (above < need && need <= above + count)
        shared.found = {static_cast<std::uint32_t>(lowest + i), above, count};
      above += count;
    }
  }
  Sync::sync();
  return shared.found;
}

// One round: splits the range into at most 2048 bins and keeps the one with the threshold.
// for_each(f) calls f(value) for elements of this thread. (Elements of one bin are counted at
// once: an increment of shared memory adds up the lanes that name the same word.) Block barriers:
// three.
template <int kThreads, class Sync = WholeBlock, class ForEach>
__device__ Range narrow_once(const Range& range, TopkShared& shared, ForEach for_each) {
  const int shift = bin_shift(range.last);
  for_each([&](std::uint32_t value) {
    const std::uint32_t offset = value - range.lo;
    if (offset <= range.last) atomicAdd(&shared.histogram[offset >> shift], 1u);
  });
  Sync::sync();
  return range_of_bin(range, shift,
                      find_bin<kThreads, true, Sync>(shared.histogram, range.need, shared));
}

// Rounds until the threshold lies among at most `few` elements, or all of the range is wanted, or
// the range is one value.
template <int kThreads, class Sync = WholeBlock, class ForEach>
__device__ Range narrow(Range range, std::uint32_t few, TopkShared& shared, ForEach for_each) {
  while (!range.decided() && range.active > few) {
    range = narrow_once<kThreads, Sync>(range, shared, for_each);
  }
  return range;
}

// Elements in the order in which they are taken; place = ~position.
__device__ inline std::uint64_t in_order(std::uint32_t key, std::uint32_t place) {
  return static_cast<std::uint64_t>(key) << 32 | place;
}

// What is taken: larger keys, and of equal keys those at `place` or above.
struct Threshold {
  std::uint32_t key;
  std::uint32_t place;

  __device__ bool takes(std::uint32_t other, std::uint32_t position) const {
    return in_order(other, ~position) >= in_order(key, place);
  }
};

// Of `count` <= kTopkFinalists listed values the need-th largest. Each warp ranks some of them, by
// a lane for each other. One block barrier, after which all threads know it.
template <int kThreads, class Sync = WholeBlock, class Value>
__device__ RankedFinalist rank_listed(const Value* listed, std::uint32_t count, std::uint32_t need,
                                      TopkShared& shared) {
  static_assert(kTopkFinalists == 32);
  const std::uint32_t lane = threadIdx.x % 32;
  const bool compares = lane < count;
  const Value other = listed[lane];
  for (std::uint32_t i = threadIdx.x / 32; i < count; i += kThreads / 32) {
    const Value own = listed[i];
    const std::uint32_t above = __popc(__ballot_sync(~0u, compares && other > own));
    const std::uint32_t equal = __popc(__ballot_sync(~0u, compares && other == own));
    if (lane == 0 && above < need && need <= above + equal)
      shared.threshold = {own, above, equal};  // alike for all that equal the threshold
  }
  Sync::sync();
  return shared.threshold;
}

// The places.need largest of the elements within `keys` and `places`, places.active and at most
// kTopkFinalists. for_each(f) calls f(key, position) for elements of this thread.
// shared.finalist_count must be zero. Two block barriers.
template <int kThreads, class Sync = WholeBlock, class ForEach>
__device__ Threshold threshold_of_few(const Range& keys, const Range& places, TopkShared& shared,
                                      ForEach for_each) {
  for_each([&](std::uint32_t key, std::uint32_t position) {
    if (keys.holds(key) && places.holds(~position)) {
      const std::uint32_t slot = atomicAdd(&shared.finalist_count, 1u);
      shared.finalists[slot] = in_order(key, ~position);
    }
  });
  Sync::sync();
  const std::uint64_t threshold =
      rank_listed<kThreads, Sync>(shared.finalists, places.active, places.need, shared).value;
  return {static_cast<std::uint32_t>(threshold >> 32), static_cast<std::uint32_t>(threshold)};
}

// The threshold of the keys.need largest; `length` bounds positions. for_each and
// shared.finalist_count as above.
template <int kThreads, class Sync = WholeBlock, class ForEach>
__device__ Threshold find_threshold(Range keys, std::uint32_t length, TopkShared& shared,
                                    ForEach for_each) {
  keys = narrow<kThreads, Sync>(keys, kTopkFinalists, shared, [&](auto count) {
    for_each([&](std::uint32_t key, std::uint32_t) { count(key); });
  });
  if (keys.active == keys.need) return {keys.lo, 0};
  Range places{~(length - 1), length - 1, keys.active, keys.need};
  if (keys.active > kTopkFinalists) {  // too many of one value: their positions decide
    places = narrow<kThreads, Sync>(places, kTopkFinalists, shared, [&](auto count) {
      for_each([&](std::uint32_t key, std::uint32_t position) {
        if (key == keys.lo) count(~position);
      });
    });
    if (places.active == places.need) return {keys.lo, places.lo};
  }
  return threshold_of_few<kThreads, Sync>(keys, places, shared, for_each);
}

}  // namespace dsaperf::kernels::sm90
