#pragma once

#include "dsaperf/kernels/sm90/ptx/cluster_memory.cuh"
#include "dsaperf/kernels/sm90/ptx/control.cuh"
#include "dsaperf/kernels/sm90/ptx/mbarrier.cuh"
#include "dsaperf/kernels/sm90/topk/launch.hpp"
#include "dsaperf/kernels/sm90/topk/select.cuh"

#include <cstdint>

// Exact top-k of f32 rows, each row read once from memory.
//
// A long row is not sorted into bins as it streams by: a sample spread over the row gives a pivot
// that a little more than topk elements are likely to exceed, and the stream keeps only those
// (about three instructions an element). The exact selection then works on some thousand candidates
// in shared memory, 11 bits a round within the range that they span. The pivot is a guess and never
// decides: too few or too many candidates are seen, and the row is then selected from memory in
// rounds, which is slower and as exact. A row that fits in shared memory is selected there whole.
// Few long rows are each read by the CTAs of a cluster, which take the same pivot from the same
// sample; rank 0 collects their candidates. The result is a bitmap, written in ascending order.
//
//   bound by  DRAM: 4 bytes an element once (the sample adds under 16 % of L2 reads)
//   smem      keys and positions of `capacity` candidates, 8 KB of bins, 1 bit an element
//   limits    topk < capacity; columns < 2^31
namespace dsaperf::kernels::sm90 {

// Sampled elements a thread: 8192 a row where one row has an SM for itself, else 4096.
template <int kThreads>
inline constexpr int kSampleOfThread = kThreads == 1024 ? 8 : 16;
inline constexpr int kVectorsOfThread = 4;  // of 16 bytes, loaded ahead

// The candidates of one CTA.
struct CandidateList {
  std::uint32_t* keys;
  std::uint32_t* positions;
  std::uint32_t capacity;
};

// A value that about `topk` of `length` elements exceed, rather more than fewer: where the
// expected number e of sampled elements above the threshold has standard deviation sqrt(e), the
// pivot leaves e + 5 sqrt(e) + 4 above it. The sample stands in the list of candidates, which is
// empty yet.
template <int kThreads>
__device__ float find_pivot(const float* __restrict__ scores, int length, int topk,
                            const CandidateList& list, TopkShared& shared) {
  constexpr int kWarps = kThreads / 32;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  const int of_thread = min(kSampleOfThread<kThreads>, static_cast<int>(list.capacity) / kThreads);
  // Segments of 32 neighbours, evenly spread over the row.
  const int step = (length - 32) / (of_thread * kWarps - 1);
#pragma unroll 8
  for (int i = 0; i < of_thread; ++i) {
    const int segment = i * kWarps + warp;
    list.keys[segment * 32 + lane] = key_of(scores[segment * step + lane]);
  }
  const int size = of_thread * kThreads;
  const float expected =
      static_cast<float>(size) * static_cast<float>(topk) / static_cast<float>(length);
  const auto rank =
      static_cast<std::uint32_t>(min(expected + 5 * sqrtf(expected) + 4, static_cast<float>(size)));
  // Each thread reads what it wrote, so no barrier before; narrow's are after the last read.
  const Range range = narrow<kThreads>(
      {0, ~0u, static_cast<std::uint32_t>(size), rank}, rank / 4 + 1, shared, [&](auto count) {
        visit_all<kThreads>(DenseKeys{list.keys, size},
                            [&](std::uint32_t key, int, bool valid) { count(key, valid); });
      });
  // A range of one value is a tie in the sample: what exceeds the value itself may do, and if not,
  // the tied elements are taken in order.
  const std::uint32_t key = range.last == 0 ? range.lo : range.lo - 1;
  return range.lo == 0 || key < kKeyOfMinusInfinity ? float_of(kKeyOfMinusInfinity) : float_of(key);
}

// Appends the elements of one warp that exceed the pivot: values[i] of this lane stands at
// position first + i % 4 + i / 4 * stride. Returns the largest key appended by this lane so far.
template <int kCount>
__device__ std::uint32_t append_above(const float (&values)[kCount], int first, int stride,
                                      float pivot, const CandidateList& list, std::uint32_t largest,
                                      TopkShared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  std::uint32_t own = 0;
#pragma unroll
  for (int i = 0; i < kCount; ++i) own += values[i] > pivot ? 1 : 0;
  if (!__any_sync(~0u, own != 0)) return largest;
  std::uint32_t sum = own;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const std::uint32_t other = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += other;
  }
  std::uint32_t base = 0;
  if (lane == 31) base = atomicAdd(&shared.candidates, sum);
  std::uint32_t at = __shfl_sync(~0u, base, 31) + sum - own;
#pragma unroll
  for (int i = 0; i < kCount; ++i) {
    if (values[i] > pivot) {
      const std::uint32_t key = key_of(values[i]);
      if (at < list.capacity) {
        list.keys[at] = key;
        list.positions[at] = static_cast<std::uint32_t>(first + i % 4 + i / 4 * stride);
      }
      largest = max(largest, key);
      ++at;
    }
  }
  return largest;
}

// Streams elements [from, to) of a row and keeps those above the pivot.
template <int kThreads>
__device__ void collect_candidates(const float* __restrict__ scores, int from, int to, float pivot,
                                   const CandidateList& list, TopkShared& shared) {
  constexpr int kStep = kThreads * kVectorsOfThread;
  const float nothing = __int_as_float(0x7fffffff);  // NaN exceeds no pivot
  const int thread = static_cast<int>(threadIdx.x);
  const int misaligned = static_cast<int>(reinterpret_cast<std::uintptr_t>(scores + from) / 4 % 4);
  const int head = min((4 - misaligned) % 4, to - from);
  const int body = from + head;
  const int vectors = (to - body) / 4;
  const int tail = body + 4 * vectors;
  const auto* __restrict__ source = reinterpret_cast<const float4*>(scores + body);

  std::uint32_t largest = 0;
  float next[4 * kVectorsOfThread];
  const auto load = [&](int base) {
#pragma unroll
    for (int j = 0; j < kVectorsOfThread; ++j) {
      const int v = base + j * kThreads + thread;
      const float4 value = v < vectors ? source[v] : float4{nothing, nothing, nothing, nothing};
      next[4 * j] = value.x;
      next[4 * j + 1] = value.y;
      next[4 * j + 2] = value.z;
      next[4 * j + 3] = value.w;
    }
  };
  load(0);
  for (int base = 0; base < vectors; base += kStep) {
    float values[4 * kVectorsOfThread];
#pragma unroll
    for (int i = 0; i < 4 * kVectorsOfThread; ++i) values[i] = next[i];
    if (base + kStep < vectors) load(base + kStep);
    largest = append_above(values, body + 4 * (base + thread), 4 * kThreads, pivot, list, largest,
                           shared);
  }
  if (thread < 32) {  // at most 3 elements before and 3 after what 16-byte loads reach
    const int at = thread < head ? from + thread : tail + thread - head;
    const float edge[1] = {at < to ? scores[at] : nothing};
    largest = append_above(edge, at, 0, pivot, list, largest, shared);
  }
  largest = __reduce_max_sync(~0u, largest);
  if (thread % 32 == 0) atomicMax(&shared.largest, largest);
}

// Rank 0 appends the candidates of the other CTAs to its own; false if they do not fit.
template <int kThreads>
__device__ bool gather_candidates(const CandidateList& list, int cluster, TopkShared& shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int warp = static_cast<int>(threadIdx.x) / 32;
  std::uint32_t count = 0;
  if (lane < cluster) {
    count = ptx::load_cluster_u32(ptx::cluster_address(ptx::shared_address(&shared.candidates),
                                                       static_cast<std::uint32_t>(lane)));
  }
  std::uint32_t sum = count;
#pragma unroll
  for (int step = 1; step < 16; step *= 2) {
    const std::uint32_t other = __shfl_up_sync(~0u, sum, step);
    if (lane >= step) sum += other;
  }
  const std::uint32_t total = __shfl_sync(~0u, sum, cluster - 1);
  const bool fits = total <= list.capacity;  // so does each part
  std::uint32_t largest = 0;
  if (fits) {
    for (int rank = 1 + warp; rank < cluster; rank += kThreads / 32) {
      const std::uint32_t part = __shfl_sync(~0u, count, rank);
      const std::uint32_t base = __shfl_sync(~0u, sum, rank) - part;
      const std::uint32_t keys =
          ptx::cluster_address(ptx::shared_address(list.keys), static_cast<std::uint32_t>(rank));
      const std::uint32_t positions = ptx::cluster_address(ptx::shared_address(list.positions),
                                                           static_cast<std::uint32_t>(rank));
      for (std::uint32_t i = static_cast<std::uint32_t>(lane); i < part; i += 32) {
        const std::uint32_t key = ptx::load_cluster_u32(keys + 4 * i);
        list.positions[base + i] = ptx::load_cluster_u32(positions + 4 * i);
        list.keys[base + i] = key;
        largest = max(largest, key);
      }
    }
  }
  largest = __reduce_max_sync(~0u, largest);
  __syncthreads();  // all warps have read candidates of rank 0
  if (lane == 0) atomicMax(&shared.largest, largest);
  if (threadIdx.x == 0) shared.candidates = total;
  __syncthreads();
  return fits;
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
    std::uint32_t at = taken + block_sum_before<kThreads>(own, shared.warp_sum);
    if (threadIdx.x == kThreads - 1) shared.found_count = at + own;
#pragma unroll
    for (int i = 0; i < kRun; ++i) {
      if (tied[i] && at++ < need) bitmap.set(static_cast<std::uint32_t>(first + i));
    }
    __syncthreads();
    taken = shared.found_count;
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
    const ListedKeys source{list.keys, list.positions, static_cast<int>(found)};
    select_and_write<kThreads>(source, length, {lo, shared.largest - lo, found, topk}, bitmap, out,
                               shared);
    return;
  }
  if (complete && length <= bitmap.window) {
    if (take_tied<kThreads>(scores, static_cast<int>(length), pivot, topk - found, bitmap,
                            shared)) {
      for (std::uint32_t i = threadIdx.x; i < found; i += kThreads) bitmap.set(list.positions[i]);
      write_positions<kThreads>(bitmap, length, out, shared);
      return;
    }
    for (std::uint32_t i = threadIdx.x; i < (length + 31) / 32; i += kThreads) bitmap.words[i] = 0;
  }
  __syncthreads();
  select_and_write<kThreads>(RowInMemory{scores, static_cast<int>(length)}, length,
                             {0, ~0u, length, topk}, bitmap, out, shared);
}

template <int kThreads>
__global__ void __launch_bounds__(kThreads, 1024 / kThreads)
    topk_kernel(const __grid_constant__ TopkArguments a) {
  extern __shared__ __align__(16) std::uint8_t dynamic_shared[];
  auto& shared = *reinterpret_cast<TopkShared*>(dynamic_shared);
  const CandidateList list{
      reinterpret_cast<std::uint32_t*>(dynamic_shared + sizeof(TopkShared)),
      reinterpret_cast<std::uint32_t*>(dynamic_shared + sizeof(TopkShared)) + a.capacity,
      static_cast<std::uint32_t>(a.capacity)};
  const int cluster = static_cast<int>(ptx::cluster_size());
  const int rank = static_cast<int>(ptx::cluster_rank());
  const int row = static_cast<int>(blockIdx.x) / cluster;
  const int thread = static_cast<int>(threadIdx.x);

  const int begin = a.start == nullptr ? 0 : max(min(a.start[row], a.columns), 0);
  const int end = a.end == nullptr ? a.columns : min(a.end[row], a.columns);
  const int length = max(end - begin, 0);
  const float* scores = a.scores + row * a.scores_stride + begin;
  std::int32_t* out = a.indices + row * a.indices_stride;

  if (length <= a.topk) {
    if (rank == 0) {
      for (int i = thread; i < a.topk; i += kThreads) out[i] = i < length ? i : -1;
    }
    return;
  }
  const bool dense = length <= a.capacity;
  if (dense && rank != 0) return;

  // Where the whole launch is dense the bitmap takes the place of the positions.
  const bool positions_unused = a.columns <= a.capacity;
  const Bitmap bitmap{positions_unused ? list.positions : list.positions + a.capacity, 0,
                      static_cast<std::uint32_t>(a.window)};
  for (int i = thread; i < kTopkBins; i += kThreads) shared.histogram[i] = 0;
  for (int i = thread; i < min(a.window, (length + 31) / 32 * 32) / 32; i += kThreads)
    bitmap.words[i] = 0;
  if (thread == 0) {
    shared.candidates = 0;
    shared.largest = 0;
    shared.finalist_count = 0;
  }

  if (dense) {
    for (int i = thread; i < length; i += kThreads) list.keys[i] = key_of(scores[i]);
    __syncthreads();
    select_and_write<kThreads>(
        DenseKeys{list.keys, length}, static_cast<std::uint32_t>(length),
        {0, ~0u, static_cast<std::uint32_t>(length), static_cast<std::uint32_t>(a.topk)}, bitmap,
        out, shared);
    return;
  }

  __syncthreads();
  const float pivot = find_pivot<kThreads>(scores, length, a.topk, list, shared);
  const int slice = (length / cluster + 3) & ~3;
  const int from = min(rank * slice, length);
  const int to = rank == cluster - 1 ? length : min(from + slice, length);
  collect_candidates<kThreads>(scores, from, to, pivot, list, shared);
  __syncthreads();
  bool complete = shared.candidates <= list.capacity;
  if (cluster > 1) {
    ptx::cluster_sync();
    if (rank == 0) complete = gather_candidates<kThreads>(list, cluster, shared);
    ptx::cluster_sync();  // keeps the other CTAs' shared memory alive until it has been read
    if (rank != 0) return;
  }
  finish_row<kThreads>(scores, static_cast<std::uint32_t>(length),
                       static_cast<std::uint32_t>(a.topk), pivot, complete, list, bitmap, out,
                       shared);
}

}  // namespace dsaperf::kernels::sm90
