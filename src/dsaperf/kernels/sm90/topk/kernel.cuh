#pragma once

#include "dsaperf/kernels/sm90/ptx/cluster_memory.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/topk/bitmap.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>
#include <limits>

// Exact top-k of f32 rows, each row read once from memory.
//
// A long row is not sorted into bins as it streams by: a sample spread over the row gives a pivot
// that a little more than topk elements are likely to exceed, and the stream keeps only those
// (about seven instructions an element). The exact selection then works on some thousand candidates
// in shared memory, 11 bits a round within the range that they span. The pivot is a guess and never
// decides: too few or too many candidates are seen, and the row is then selected from memory in
// rounds, which is slower and as exact. Few long rows are each read by the CTAs of a cluster, which
// take the same pivot from the same sample; rank 0 collects their candidates. The result is a
// bitmap, written in ascending order. (Short rows: short_kernel.cuh.)
//
//   bound by  DRAM: 4 bytes an element once (the sample adds under 16 % of L2 reads)
//   smem      8 bytes for each of `capacity` candidates, 8 KB of bins, 1 bit an element
//   limits    topk < capacity; columns < 2^31
namespace dsaperf::kernels::sm90 {

// The sample is as large as makes the expected number above the threshold this, within limits. A
// row with an SM to itself has room for more candidates, and waits for the sample.
template <int kThreads>
inline constexpr int kSampleAboveThreshold = kThreads == 1024 ? 64 : 128;
template <int kThreads>
inline constexpr int kMostSampleOfThread = kThreads == 1024 ? 8 : 16;
inline constexpr int kVectorsOfThread = 3;  // of 16 bytes, loaded ahead

// An element that may be selected: the bits of its float, then its key; its position.
using Candidate = uint2;

struct CandidateList {
  Candidate* entries;
  std::uint32_t capacity;

  // The same memory before there are candidates: keys of a sample or of a whole row; and when they
  // have been looked at: positions of the result.
  __device__ std::uint32_t* keys() const { return reinterpret_cast<std::uint32_t*>(entries); }
  __device__ std::int32_t* positions() const { return reinterpret_cast<std::int32_t*>(entries); }
};

// Where elements come from; for_each visits those of this thread.
struct KeysInOrder {  // of a whole row, or of a sample
  const std::uint32_t* keys;
  int count;

  __device__ std::uint32_t key(int i) const { return keys[i]; }
};

// Not __restrict__: the scores may be written while the grid that reads them runs, before it does
// (indexer_select/kernel.cuh), so the read-only path is not for them.
struct RowInMemory {
  const float* scores;
  int count;

  __device__ std::uint32_t key(int i) const { return key_of(scores[i]); }
};

struct ListedCandidates {  // in no order
  const Candidate* entries;
  int count;
};

// The same in registers; absent ones have the key of NaN, which no range of candidates holds.
template <int kThreads>
struct OwnCandidates {
  static constexpr std::uint32_t kMost = 4096;
  static constexpr int kOfThread = kMost / kThreads;
  std::uint32_t keys[kOfThread];
  std::uint32_t positions[kOfThread];

  __device__ OwnCandidates(const Candidate* entries, std::uint32_t count) {
#pragma unroll
    for (int i = 0; i < kOfThread; ++i) {
      const std::uint32_t at = threadIdx.x + i * kThreads;
      const Candidate entry = at < count ? entries[at] : Candidate{0x7fffffff, 0};
      keys[i] = key_of(__uint_as_float(entry.x));
      positions[i] = entry.y;
    }
  }
  __device__ std::uint32_t largest() const {
    std::uint32_t largest = 0;
#pragma unroll
    for (const std::uint32_t key : keys) largest = max(largest, key);
    return largest;
  }
};

template <int kThreads, class Source, class Visit>
__device__ void for_each(const Source& source, Visit visit) {
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < source.count; i += kThreads) {
    visit(source.key(i), static_cast<std::uint32_t>(i));
  }
}
template <int kThreads, class Visit>
__device__ void for_each(const ListedCandidates& source, Visit visit) {
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < source.count; i += kThreads) {
    const Candidate entry = source.entries[i];
    visit(entry.x, entry.y);
  }
}

template <int kThreads, class Visit>
__device__ void for_each(const OwnCandidates<kThreads>& source, Visit visit) {
#pragma unroll
  for (int i = 0; i < OwnCandidates<kThreads>::kOfThread; ++i)
    visit(source.keys[i], source.positions[i]);
}

// Sets the bits of what the threshold takes, as far as the bitmap's window reaches.
template <int kThreads, class Source>
__device__ void mark_taken(const Source& source, const Threshold& threshold, const Bitmap& bitmap) {
  if constexpr (requires { source.key(0); }) {  // in order: 32 bits at once
    for (int base = 0; base < source.count; base += kThreads) {
      const int i = base + static_cast<int>(threadIdx.x);
      const bool taken =
          i < source.count && threshold.takes(source.key(i), static_cast<std::uint32_t>(i));
      const std::uint32_t bits = __ballot_sync(~0u, taken);
      if (i % 32 == 0 && i < source.count) bitmap.put(static_cast<std::uint32_t>(i), bits);
    }
  } else {
    for_each<kThreads>(source, [&](std::uint32_t key, std::uint32_t position) {
      if (threshold.takes(key, position)) bitmap.set(position);
    });
  }
}

// Selects and writes positions in ascending order. `all` is where keys can be and how many are
// wanted; `length` bounds positions. The source may stand in the list, whose memory is free after.
template <int kThreads, class Source>
__device__ void select_and_write(const Source& source, std::uint32_t length, const Range& all,
                                 const CandidateList& list, Bitmap bitmap, std::int32_t* out,
                                 TopkShared& shared) {
  // The source is looked at once for each window.
  std::int32_t* staged = length <= bitmap.window ? list.positions() : nullptr;
  const Threshold threshold = find_threshold<kThreads>(
      all, length, shared, [&](auto visit) { for_each<kThreads>(source, visit); });
  while (true) {
    mark_taken<kThreads>(source, threshold, bitmap);
    out += write_positions<kThreads>(bitmap, min(bitmap.window, length - bitmap.first), staged, out,
                                     shared);
    if (length - bitmap.first <= bitmap.window) return;
    bitmap.first += bitmap.window;
    __syncthreads();
  }
}

// A value that about `topk` of `length` elements exceed, rather more than fewer: where the
// expected number e of sampled elements above the threshold has standard deviation sqrt(e), the
// pivot leaves e + 5 sqrt(e) + 4 above it. The sample stands in the list of candidates, which is
// empty yet. meanwhile() is called once it is there.
template <int kThreads, class Meanwhile>
__device__ float find_pivot(const float* __restrict__ scores, int length, int topk,
                            const CandidateList& list, TopkShared& shared, Meanwhile meanwhile) {
  constexpr int kWarps = kThreads / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int wanted = static_cast<int>(static_cast<float>(kSampleAboveThreshold<kThreads>) *
                                      static_cast<float>(length) / static_cast<float>(topk));
  const int most = min(kMostSampleOfThread<kThreads>, static_cast<int>(list.capacity) / kThreads);
  const int of_thread = min((wanted + kThreads - 1) / kThreads, most);
  // Segments of 32 neighbours, evenly spread over the row.
  const int step = (length - 32) / (of_thread * kWarps - 1);
#pragma unroll 8
  for (int i = 0; i < of_thread; ++i) {
    const int segment = i * kWarps + warp;
    list.keys()[segment * 32 + lane] = key_of(scores[segment * step + lane]);
  }
  meanwhile();
  const int size = of_thread * kThreads;
  const float expected =
      static_cast<float>(size) * static_cast<float>(topk) / static_cast<float>(length);
  const auto rank =
      static_cast<std::uint32_t>(min(expected + 5 * sqrtf(expected) + 4, static_cast<float>(size)));
  // Each thread reads what it wrote, so no barrier before; narrow's are after the last read. A
  // sample that is wanted whole takes no round, and the list's first candidates take its place.
  if (rank == static_cast<std::uint32_t>(size)) __syncthreads();
  const Range range = narrow<kThreads>(
      {0, ~0u, static_cast<std::uint32_t>(size), rank}, rank / 4 + 1, shared, [&](auto count) {
        for_each<kThreads>(KeysInOrder{list.keys(), size},
                           [&](std::uint32_t key, std::uint32_t) { count(key); });
      });
  // A range of one value is a tie in the sample: what exceeds the value itself may do, and if not,
  // the tied elements are taken in order.
  const std::uint32_t key = range.last == 0 ? range.lo : range.lo - 1;
  return range.lo == 0 || key < kKeyOfMinusInfinity ? float_of(kKeyOfMinusInfinity) : float_of(key);
}

// Appends the elements of one warp that exceed the pivot: values[i] of this lane stands at
// position first + i % 4 + i / 4 * stride. Past the capacity they are only counted.
template <int kCount>
__device__ void append_above(const float (&values)[kCount], int first, int stride, float pivot,
                             const CandidateList& list, TopkShared& shared) {
  std::uint32_t own = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) own += values[i] > pivot ? 1 : 0;
  if (!__any_sync(~0u, own != 0)) return;
  const std::uint32_t through = warp_sum_through(own);
  std::uint32_t base = 0;
  if (threadIdx.x % 32 == 31) base = atomicAdd(&shared.candidates, through);
  base = __shfl_sync(~0u, base, 31);
  if (base + __shfl_sync(~0u, through, 31) > list.capacity) return;
  Candidate* at = list.entries + (base + through - own);
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (values[i] > pivot) {
      *at = {__float_as_uint(values[i]),
             static_cast<std::uint32_t>(first + i % 4 + i / 4 * stride)};
      ++at;
    }
  }
}

// Streams elements [from, to) of a row and keeps those above the pivot.
template <int kThreads>
class Stream {
 public:
  __device__ Stream(const float* __restrict__ scores, int from, int to)
      : scores_(scores), from_(from), to_(to) {
    const int misaligned =
        static_cast<int>(reinterpret_cast<std::uintptr_t>(scores + from) / 4 % 4);
    head_ = min((4 - misaligned) % 4, to - from);
    vectors_ = (to - from - head_) / 4;
  }

  // Asks for the first elements, so that they come while something else is done.
  __device__ void begin() { load(0); }

  __device__ void collect(float pivot, const CandidateList& list, TopkShared& shared) {
    const int thread = static_cast<int>(threadIdx.x);
    const int body = from_ + head_;
    for (int base = 0; base < vectors_; base += kStep) {
      float values[kOfThread];
#pragma unroll
      for (int i = 0; i < kOfThread; ++i) values[i] = next_[i];
      if (base + kStep < vectors_) load(base + kStep);
      append_above(values, body + 4 * (base + thread), 4 * kThreads, pivot, list, shared);
    }
    if (thread < 32) {  // at most 3 elements before and 3 after what 16-byte loads reach
      const int tail = body + 4 * vectors_;
      const int at = thread < head_ ? from_ + thread : tail + thread - head_;
      const float edge[1] = {at < to_ ? scores_[at] : kNothing};
      append_above(edge, at, 0, pivot, list, shared);
    }
  }

 private:
  static constexpr int kStep = kThreads * kVectorsOfThread;
  static constexpr int kOfThread = 4 * kVectorsOfThread;
  static constexpr float kNothing = std::numeric_limits<float>::quiet_NaN();  // exceeds no pivot

  __device__ void load(int base) {
    const auto* __restrict__ source = reinterpret_cast<const float4*>(scores_ + from_ + head_);
#pragma unroll
    for (int j = 0; j < kVectorsOfThread; ++j) {
      const int v = base + j * kThreads + static_cast<int>(threadIdx.x);
      const float4 value =
          v < vectors_ ? source[v] : float4{kNothing, kNothing, kNothing, kNothing};
      next_[4 * j] = value.x;
      next_[4 * j + 1] = value.y;
      next_[4 * j + 2] = value.z;
      next_[4 * j + 3] = value.w;
    }
  }

  const float* __restrict__ scores_;
  int from_;
  int to_;
  int head_;
  int vectors_;
  float next_[kOfThread];
};

// Rank 0 appends the candidates of the other CTAs to its own; false if they do not fit.
template <int kThreads>
__device__ bool gather_candidates(const CandidateList& list, int cluster, TopkShared& shared) {
  const std::uint32_t lane = threadIdx.x % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  std::uint32_t count = 0;
  if (lane < static_cast<std::uint32_t>(cluster)) {
    count =
        ptx::load_cluster_u32(ptx::cluster_address(ptx::shared_address(&shared.candidates), lane));
  }
  const std::uint32_t through = warp_sum_through(count);
  const std::uint32_t total = __shfl_sync(~0u, through, cluster - 1);
  const bool fits = total <= list.capacity;  // so does each part
  // The warps are spread over the ranks.
  constexpr int kWarps = kThreads / 32;
  const int warps_of_rank = max(kWarps / cluster, 1);
  if (fits) {
    for (int rank = warp / warps_of_rank; rank < cluster; rank += kWarps / warps_of_rank) {
      const std::uint32_t part = __shfl_sync(~0u, count, rank);
      const std::uint32_t base = __shfl_sync(~0u, through, rank) - part;
      const std::uint32_t entries =
          ptx::cluster_address(ptx::shared_address(list.entries), static_cast<std::uint32_t>(rank));
      if (rank == 0) continue;
      constexpr int kBatch = 4;  // in flight
      const std::uint32_t step = static_cast<std::uint32_t>(warps_of_rank) * 32;
      for (std::uint32_t first = static_cast<std::uint32_t>(warp % warps_of_rank) * 32 + lane;
           first < part; first += kBatch * step) {
        Candidate batch[kBatch];
#pragma unroll
        for (int j = 0; j < kBatch; ++j) {
          const std::uint32_t i = first + j * step;
          if (i < part) batch[j] = ptx::load_cluster_u32x2(entries + sizeof(Candidate) * i);
        }
#pragma unroll
        for (int j = 0; j < kBatch; ++j) {
          const std::uint32_t i = first + j * step;
          if (i < part) list.entries[base + i] = batch[j];
        }
      }
    }
  }
  __syncthreads();  // all warps have read the count of rank 0
  if (threadIdx.x == 0) shared.candidates = total;
  __syncthreads();
  return fits;
}

// The largest key of the block; shared.largest was zero. One block barrier.
__device__ inline std::uint32_t largest_of_block(std::uint32_t own, TopkShared& shared) {
  own = __reduce_max_sync(~0u, own);
  if (threadIdx.x % 32 == 0) atomicMax(&shared.largest, own);
  __syncthreads();
  return shared.largest;
}

// Turns the floats of the list into keys; returns the largest of this thread.
template <int kThreads>
__device__ std::uint32_t keys_of_candidates(const CandidateList& list, std::uint32_t count) {
  std::uint32_t largest = 0;
#pragma unroll 4
  for (std::uint32_t i = threadIdx.x; i < count; i += kThreads) {
    const std::uint32_t key = key_of(__uint_as_float(list.entries[i].x));
    list.entries[i].x = key;
    largest = max(largest, key);
  }
  return largest;
}

// Sets the bits of the `need` lowest positions whose score equals the pivot; false if there are
// fewer. Reads no further than it must.
template <int kThreads>
__device__ bool take_tied(const float* __restrict__ scores, int length, float pivot,
                          std::uint32_t need, const Bitmap& bitmap, TopkShared& shared) {
  constexpr int kRun = 4;
  std::uint32_t taken = 0;
  for (int base = 0; base < length && taken < need; base += kRun * kThreads) {
    const int first = base + kRun * static_cast<int>(threadIdx.x);
    bool tied[kRun];
    std::uint32_t own = 0;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      tied[i] = first + i < length && scores[first + i] == pivot;
      own += tied[i] ? 1 : 0;
    }
    const BlockSum sum = block_sum<kThreads>(own, shared.warp_sum);
    std::uint32_t at = taken + sum.before;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (tied[i] && at++ < need) bitmap.set(static_cast<std::uint32_t>(first + i));
    }
    taken += sum.total;
    __syncthreads();  // warp_sum is free again
  }
  return taken >= need;
}

// Selects from the candidates, or else from the row itself.
template <int kThreads>
__device__ void finish_row(const float* __restrict__ scores, std::uint32_t length,
                           std::uint32_t topk, float pivot, bool complete,
                           const CandidateList& list, const Bitmap& bitmap, std::int32_t* out,
                           TopkShared& shared) {
  const std::uint32_t found = shared.candidates;
  if (complete && found >= topk) {
    const std::uint32_t lo = key_of(pivot) + 1;
    if constexpr (kThreads == 1024) {  // else a thread has no registers for so many
      if (found <= OwnCandidates<kThreads>::kMost) {
        const OwnCandidates<kThreads> own(list.entries, found);
        const std::uint32_t largest = largest_of_block(own.largest(), shared);
        select_and_write<kThreads>(own, length, {lo, largest - lo, found, topk}, list, bitmap, out,
                                   shared);
        return;
      }
    }
    const std::uint32_t largest =
        largest_of_block(keys_of_candidates<kThreads>(list, found), shared);
    select_and_write<kThreads>(ListedCandidates{list.entries, static_cast<int>(found)}, length,
                               {lo, largest - lo, found, topk}, list, bitmap, out, shared);
    return;
  }
  if (complete && length <= bitmap.window) {
    if (take_tied<kThreads>(scores, static_cast<int>(length), pivot, topk - found, bitmap,
                            shared)) {
      for (std::uint32_t i = threadIdx.x; i < found; i += kThreads) bitmap.set(list.entries[i].y);
      write_positions<kThreads>(bitmap, length, list.positions(), out, shared);
      return;
    }
    for (std::uint32_t i = threadIdx.x; i < (length + 31) / 32; i += kThreads) bitmap.words[i] = 0;
  }
  __syncthreads();
  select_and_write<kThreads>(RowInMemory{scores, static_cast<int>(length)}, length,
                             {0, ~0u, length, topk}, list, bitmap, out, shared);
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads, 1024 / kThreads)
    topk_kernel(const __grid_constant__ TopkArguments a) {
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<TopkShared*>(dynamic_shared);
  const CandidateList list{reinterpret_cast<Candidate*>(dynamic_shared + sizeof(TopkShared)),
                           static_cast<std::uint32_t>(a.capacity)};
  const Bitmap bitmap{reinterpret_cast<std::uint32_t*>(list.entries + a.capacity), 0,
                      static_cast<std::uint32_t>(a.window)};
  const int cluster = static_cast<int>(ptx::cluster_size());
  const int rank = static_cast<int>(ptx::cluster_rank());
  const int row = static_cast<int>(blockIdx.x) / cluster;
  const int thread = static_cast<int>(threadIdx.x);
  clear_bins<kThreads>(shared.histogram);
  for (int i = thread; i < a.window / 128; i += kThreads) {
    reinterpret_cast<uint4*>(bitmap.words)[i] = uint4{};
  }
  if (thread == 0) {
    shared.candidates = 0;
    shared.largest = 0;
    shared.finalist_count = 0;
  }
  ptx::launch_next_grid();
  ptx::wait_for_previous_grid();

  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int end = end_of_row(a, row);
  const int length = max(end - begin, 0);
  const float* scores = a.scores + row * a.scores_stride + begin;
  // Computed where it is needed: the stream has no register to spare.
  const auto out_of_row = [&a] {
    const auto this_row = static_cast<std::int64_t>(blockIdx.x / ptx::cluster_size());
    return a.indices + this_row * a.indices_stride;
  };

  if (length <= a.topk) {
    if (rank == 0) {
      for (int i = thread; i < a.topk; i += kThreads) out_of_row()[i] = i < length ? i : -1;
    }
    return;
  }
  const bool dense = length <= a.capacity;
  if (dense && rank != 0) return;

  if (dense) {
    for (int i = thread; i < length; i += kThreads) list.keys()[i] = key_of(scores[i]);
    __syncthreads();
    select_and_write<kThreads>(
        KeysInOrder{list.keys(), length}, static_cast<std::uint32_t>(length),
        {0, ~0u, static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(a.topk)}, list,
        bitmap, out_of_row(), shared);
    return;
  }

  __syncthreads();
  const int slice = (length / cluster + 3) & ~3;
  const int from = min(rank * slice, length);
  const int to = rank == cluster - 1 ? length : min(from + slice, length);
  Stream<kThreads> stream(scores, from, to);
  const float pivot =
      find_pivot<kThreads>(scores, length, a.topk, list, shared, [&] { stream.begin(); });
  stream.collect(pivot, list, shared);
  __syncthreads();
  bool complete = shared.candidates <= list.capacity;
  if (cluster > 1) {
    ptx::cluster_sync();
    if (rank == 0) complete = gather_candidates<kThreads>(list, cluster, shared);
    ptx::cluster_arrive();
    if (rank != 0) {
      ptx::cluster_wait();  // until rank 0 has read this CTA's candidates
      return;
    }
  }
  finish_row<kThreads>(scores, static_cast<std::uint32_t>(length),
                       static_cast<std::uint32_t>(a.topk), pivot, complete, list, bitmap,
                       out_of_row(), shared);
  if (ptx::cluster_size() > 1) ptx::cluster_wait();
}

}  // namespace dsaperf::kernels::sm90
