#pragma once

#include "dsaperf/kernels/sm90/topk/config.cuh"

#include <cstdint>

// Parts of an exact selection by one CTA. Values are compared as `keys`, unsigned numbers in the
// order of the floats; positions break ties, the lowest first.
namespace dsaperf::kernels::sm90 {

inline constexpr std::uint32_t kKeyOfMinusInfinity = 0x007fffff;

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

// Exclusive sum over the threads of the block, in thread order; one block barrier. warp_sum is
// free again after the caller's next barrier.
template <int kThreads>
__device__ std::uint32_t block_sum_before(std::uint32_t own, std::uint32_t* warp_sum) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  std::uint32_t sum = own;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const std::uint32_t other = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += other;
  }
  if (lane == 31) warp_sum[warp] = sum;
  __syncthreads();
  const std::uint32_t before = lane < warp ? warp_sum[lane] : 0;
  return __reduce_add_sync(~0u, before) + sum - own;
}

// The values lo ... lo + last hold `active` elements, of which the `need` largest are wanted; all
// elements above them are wanted, none below. 0 < need <= active.
struct Range {
  std::uint32_t lo;
  std::uint32_t last;
  std::uint32_t active;
  std::uint32_t need;

  __device__ bool holds(std::uint32_t value) const { return value - lo <= last; }
  __device__ bool lies_under(std::uint32_t value) const { return value >= lo && value - lo > last; }
};

// Counts one element a lane. Elements in the bin of lane 0 are counted at once, so a value that
// most elements share costs no more than others. All lanes of the warp call it.
__device__ inline void count_in_bin(std::uint32_t* histogram, std::uint32_t bin, bool valid) {
  const std::uint32_t mine = valid ? bin : ~0u;
  const std::uint32_t first = __shfl_sync(~0u, mine, 0);
  const std::uint32_t same = __ballot_sync(~0u, mine == first);
  if (threadIdx.x % 32 == 0) {
    if (valid) atomicAdd(&histogram[bin], static_cast<std::uint32_t>(__popc(same)));
  } else if (valid && bin != first) {
    atomicAdd(&histogram[bin], 1u);
  }
}

// One round: splits the range into at most 2048 bins and keeps the one with the threshold.
// for_each(f) calls f(value, valid) the same number of times in all lanes of a warp, for each
// element of this thread. Block barriers: three.
template <int kThreads, class ForEach>
__device__ Range narrow_once(const Range& range, TopkShared& shared, ForEach for_each) {
  constexpr int kBinsOfThread = kTopkBins / kThreads;
  const int shift = max(0, 21 - __clz(static_cast<int>(range.last)));
  for_each([&](std::uint32_t value, bool valid) {
    count_in_bin(shared.histogram, (value - range.lo) >> shift, valid && range.holds(value));
  });
  __syncthreads();

  const int top_bin = kTopkBins - 1 - static_cast<int>(threadIdx.x) * kBinsOfThread;
  std::uint32_t counts[kBinsOfThread];
  std::uint32_t own = 0;
#pragma unroll
  for (int i = 0; i < kBinsOfThread; ++i) {
    counts[i] = shared.histogram[top_bin - i];
    shared.histogram[top_bin - i] = 0;
    own += counts[i];
  }
  std::uint32_t above = block_sum_before<kThreads>(own, shared.warp_sum);
  if (above < range.need && range.need <= above + own) {
#pragma unroll
    for (int i = 0; i < kBinsOfThread; ++i) {
      if (above < range.need && range.need <= above + counts[i]) {
        shared.found_bin = static_cast<std::uint32_t>(top_bin - i);
        shared.found_above = above;
        shared.found_count = counts[i];
      }
      above += counts[i];
    }
  }
  __syncthreads();
  const std::uint32_t offset = shared.found_bin << shift;
  return {range.lo + offset, min(range.last - offset, (1u << shift) - 1), shared.found_count,
          range.need - shared.found_above};
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

// Where elements come from. Each thread visits its own; all lanes of a warp make the same number
// of steps.
struct DenseKeys {  // keys of a whole row
  const std::uint32_t* keys;
  int count;

  __device__ std::uint32_t key(int i) const { return keys[i]; }
  __device__ std::uint32_t position(int i) const { return static_cast<std::uint32_t>(i); }
};

struct ListedKeys {  // candidates, in no order
  const std::uint32_t* keys;
  const std::uint32_t* positions;
  int count;

  __device__ std::uint32_t key(int i) const { return keys[i]; }
  __device__ std::uint32_t position(int i) const { return positions[i]; }
};

struct RowInMemory {
  const float* __restrict__ scores;
  int count;

  __device__ std::uint32_t key(int i) const { return key_of(scores[i]); }
  __device__ std::uint32_t position(int i) const { return static_cast<std::uint32_t>(i); }
};

template <int kThreads, class Source, class Visit>
__device__ void visit_all(const Source& source, Visit visit) {
  for (int base = 0; base < source.count; base += kThreads) {
    const int i = base + static_cast<int>(threadIdx.x);
    const bool valid = i < source.count;
    visit(valid ? source.key(i) : 0u, i, valid);
  }
}

// The set of positions as bits, and its output in ascending order.
struct Bitmap {
  std::uint32_t* words;
  std::uint32_t first;   // position of bit 0
  std::uint32_t window;  // bits

  __device__ void set(std::uint32_t position) const {
    const std::uint32_t bit = position - first;
    if (bit < window) atomicOr(&words[bit / 32], 1u << (bit % 32));
  }
};

// Writes the positions of the set bits among the first `bits` and clears them; returns how many.
// Two block barriers, the first before anything is read.
template <int kThreads>
__device__ std::uint32_t write_positions(const Bitmap& bitmap, std::uint32_t bits,
                                         std::int32_t* out, TopkShared& shared) {
  // Each thread takes `unit` whole bytes or whole words, so that short rows use all threads.
  const std::uint32_t bits_of_thread = (bits + kThreads - 1) / kThreads;
  const bool by_bytes = bits_of_thread <= 16;
  const std::uint32_t unit = by_bytes ? 8 : 32;
  const std::uint32_t units_of_thread = (bits_of_thread + unit - 1) / unit;
  const std::uint32_t first = threadIdx.x * units_of_thread;
  const std::uint32_t last = min(first + units_of_thread, (bits + unit - 1) / unit);
  const auto load = [&](std::uint32_t i) {
    return by_bytes ? static_cast<std::uint32_t>(reinterpret_cast<std::uint8_t*>(bitmap.words)[i])
                    : bitmap.words[i];
  };
  __syncthreads();
  std::uint32_t own = 0;
  for (std::uint32_t i = first; i < last; ++i) own += static_cast<std::uint32_t>(__popc(load(i)));
  std::uint32_t at = block_sum_before<kThreads>(own, shared.warp_sum);
  if (threadIdx.x == kThreads - 1) shared.found_count = at + own;
  for (std::uint32_t i = first; i < last; ++i) {
    std::uint32_t rest = load(i);
    const std::uint32_t position = bitmap.first + i * unit;
    while (rest != 0) {
      out[at++] = static_cast<std::int32_t>(position) + __ffs(static_cast<int>(rest)) - 1;
      rest &= rest - 1;
    }
    if (by_bytes) {
      reinterpret_cast<std::uint8_t*>(bitmap.words)[i] = 0;
    } else {
      bitmap.words[i] = 0;
    }
  }
  __syncthreads();
  return shared.found_count;
}

// Selects exactly `topk` of the source, topk < source.count, and writes their positions in
// ascending order. `length` bounds positions; `range` is where keys can be.
template <int kThreads, class Source>
__device__ void select_and_write(const Source& source, std::uint32_t length, const Range& all,
                                 Bitmap bitmap, std::int32_t* out, TopkShared& shared) {
  const Range keys = narrow<kThreads>(all, kTopkFinalists, shared, [&](auto count) {
    visit_all<kThreads>(source, [&](std::uint32_t key, int, bool valid) { count(key, valid); });
  });
  // Too many of one value: their positions decide, as ~position, largest first.
  const bool by_position =
      keys.active != keys.need && keys.active > kTopkFinalists && keys.last == 0;
  Range places{~(length - 1), length - 1, keys.active, keys.need};
  if (by_position) {
    places = narrow<kThreads>(places, kTopkFinalists, shared, [&](auto count) {
      visit_all<kThreads>(source, [&](std::uint32_t key, int i, bool valid) {
        const bool tied = valid && key == keys.lo;
        count(tied ? ~source.position(i) : 0u, tied);
      });
    });
  }
  const std::uint32_t need = by_position ? places.need : keys.need;
  const std::uint32_t active = by_position ? places.active : keys.active;

  for (bool first_window = true; bitmap.first < length; first_window = false) {
    visit_all<kThreads>(source, [&](std::uint32_t key, int i, bool valid) {
      if (!valid) return;
      const std::uint32_t position = source.position(i);
      bool taken = keys.lies_under(key);
      bool finalist = keys.holds(key);
      if (by_position && finalist) {
        taken = places.lies_under(~position);
        finalist = places.holds(~position);
      }
      if (taken || (finalist && active == need)) {
        bitmap.set(position);
      } else if (finalist && first_window) {
        const std::uint32_t slot = atomicAdd(&shared.finalist_count, 1u);
        shared.finalists[slot] = static_cast<std::uint64_t>(key) << 32 | ~position;
      }
    });
    __syncthreads();
    if (active != need && threadIdx.x < active) {
      const std::uint64_t own = shared.finalists[threadIdx.x];
      std::uint32_t rank = 0;
      for (std::uint32_t i = 0; i < active; ++i) rank += shared.finalists[i] > own ? 1 : 0;
      if (rank < need) bitmap.set(~static_cast<std::uint32_t>(own));
    }
    out +=
        write_positions<kThreads>(bitmap, min(bitmap.window, length - bitmap.first), out, shared);
    bitmap.first += bitmap.window;
  }
}

}  // namespace dsaperf::kernels::sm90
